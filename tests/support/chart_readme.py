"""Writes helm/poller/README.md from the comments of values.yaml: `# -- meaning` stands above each key that is described."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

CHART = Path(__file__).resolve().parents[2] / "helm" / "poller"
TARGET = CHART / "README.md"
INTRO = """\
# poller on Kubernetes

How is poller installed with Helm, what can be set, and what has to be there before?

Kubernetes 1.28 or newer; Helm 3.17 or newer, Helm 4 included. No image is published yet: build it from the `Dockerfile`
(docs/operating.md), push it to a registry of yours, and set `image.repository`. This page is made from `values.yaml` (`make docs`).

## One pod

One pod with SQLite on a volume is the usual set-up: a StatefulSet. Secrets are never values: make one, and refer to it.

```sh
kubectl create secret generic poller --from-literal=kafka=… --from-literal=crm=… --from-literal=mor=…
kubectl create secret generic poller-thulium --from-literal=password=…
helm install calls ./helm/poller -f values.yaml
helm test calls
```

```yaml
{single}```

`config` is poller's own configuration, passed on as it stands and checked by Helm before anything is installed: a key that does not exist,
a duration without its unit and an `{{env: NAME}}` that nothing sets are refused. `config/poller.yaml` shows all of it, and
docs/configuration.md lists each key. Helm says where: `config.retention: Does not match pattern …` means that a number and a unit are expected
there; `Expected: object, given: string` (Helm 4: `got string, want object`) at a password, that it is `{{env: NAME}}` or `{{file: PATH}}`, never the
secret itself. A changed configuration restarts the pods. A changed Secret does not: `kubectl rollout restart`.

## Several pods

They share a PostgreSQL database and each other's work. One value makes it a Deployment of two:

```yaml
{several}```

Where the daemon's role may not create tables, let a job do it before each install and upgrade, with a role of its own (docs/postgres.md):

```yaml
migration:
  mode: hook
  env:
    POLLER_DSN: {{name: poller-owner, key: dsn}}
```

The job runs before the rest of the chart is there, with a NetworkPolicy of its own (name servers, 5432 and `networkPolicy.extraPorts`); its
account must be there already.

**From one pod to several** the store moves (docs/state.md). Stop the pod (`kubectl scale statefulset/calls-poller --replicas=0`). In a pod of the
same image, with its claim `store-calls-poller-0` at `/var/lib/poller` and the Secrets of both configurations, run `poller state export` with the old
configuration and `poller state import` with the new one; then `helm upgrade` with the new values. Without the move a daemon on the empty
PostgreSQL store ends, since Kafka has the progress of another one; where there is no Kafka sink, everything is new to it.

## Status page

A page for the browser says which phone system is behind and why (docs/operating.md). Usually it is reached through the cluster's own log-in:

```yaml
config:
  admin: {{listen: 127.0.0.1:9465, token: {{env: POLLER_ADMIN_TOKEN}}}}
secrets:
  env:
    POLLER_ADMIN_TOKEN: {{name: poller, key: token}}
```

```sh
kubectl port-forward statefulset/calls-poller 9465        # deployment/… with several pods; then http://127.0.0.1:9465/
```

For people who have no log-in to the cluster, with a Service and, if you like, an Ingress:

```yaml
{page}```

## Metrics, alerts, dashboards

With the Prometheus operator and Grafana's sidecar (`dashboards.operator`: Grafana's operator); what each alert means: docs/runbook.md.

```yaml
podMonitor: {{enabled: true}}
prometheusRule: {{enabled: true}}
dashboards: {{enabled: true}}
```

## Secrets from elsewhere

With the External Secrets operator, in the same release:

```yaml
extraObjects:
  - apiVersion: external-secrets.io/v1
    kind: ExternalSecret
    metadata: {{name: poller}}
    spec:
      secretStoreRef: {{kind: ClusterSecretStore, name: vault}}
      target: {{name: poller}}
      dataFrom: [{{extract: {{key: telephony/poller}}}}]
```

## What holds

- The pods meet the restricted Pod Security standard: user 10001, a root that is only read, no capabilities, no token.
- Probes ask the program alone. Kafka, the database or a phone system being away restarts nothing.
- A pod is given longer to end than the program takes at most: `shutdown_grace`, 5 seconds to close, 15 to spare.
- A node can always be drained: one pod at a time, and pods that are not ready at once.
- Egress is open to name servers, to 443, and to the ports that `config` names. Brokers that advertise other ports, a proxy, or a URL that is
  a secret need `networkPolicy.extraPorts`. `metricsFrom` says who may scrape.

## Values

"""


def text() -> str:
    """The page, whole."""
    from_values = {"single": _example("sqlite"), "several": _example("postgres"), "page": _example("page")}
    rows = [f"| `{key}` | `{default}` | {meaning} |" for key, default, meaning in described()]
    table = ["| key | default | meaning |", "|---|---|---|", *rows]
    return INTRO.format(**from_values) + "\n".join(table) + "\n"


def _example(case: str) -> str:
    """One of the values that the chart is tested with, without its first comment."""
    path = CHART.parents[1] / "tests" / "helm" / "values" / f"{case}.yaml"
    return re.sub(r"\A#.*\n", "", path.read_text(encoding="utf-8"))


def described() -> Iterator[tuple[str, str, str]]:
    """Key, default and meaning of each described value, in order."""
    text = (CHART / "values.yaml").read_text(encoding="utf-8")
    values = yaml.safe_load(text)
    path: list[str] = []
    meaning: list[str] = []
    for line in text.splitlines():
        indent, body = len(line) - len(line.lstrip()), line.strip()
        if body.startswith("# -- "):
            meaning = [body.removeprefix("# -- ")]
        elif body.startswith("#") and meaning:
            meaning.append(body.removeprefix("# "))
        elif key := re.match(r"([A-Za-z]+):", body):
            path = [*path[: indent // 2], key[1]]
            if meaning:
                yield ".".join(path), _shown(values, path), " ".join(meaning)
            meaning = []


def _shown(values: Any, path: list[str]) -> str:
    for key in path:
        values = values[key]
    return json.dumps(values, ensure_ascii=False).replace("|", "\\|")


if __name__ == "__main__":
    TARGET.write_text(text(), encoding="utf-8")
