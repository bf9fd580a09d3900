"""Values as a new operator breaks them, under the oldest and the newest Helm: what is said names the place and the fault."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from helm_renders import CHART, Refused, render

pytestmark = pytest.mark.helm
both = pytest.mark.parametrize("version", ["3.17", "4.3"])

Values = dict[str, Any]


def source(**other: object) -> Values:
    """A phone system that is well, but for what is given."""
    well: Values = {"kind": "thulium", "base_url": "https://a.example/api", "username": "u", "password": {"env": "P"}}
    well |= {"endpoints": {"connections": {}}}
    return {"config": {"sources": {"office": well | other}}, "secrets": {"env": {"P": {"name": "s", "key": "k"}}}}


def a_list(**options: object) -> Values:
    return source(endpoints={"connections": options})


def page(listen: str, **other: object) -> Values:
    """A status page at an address."""
    admin = {"listen": listen, "token": {"env": "T"}}
    return {"config": {"admin": admin}, "secrets": {"env": {"T": {"name": "s", "key": "k"}}}, "page": other}


DURATION = r"oes not match pattern '^([0-9]+(\.[0-9]+)?)(ms|s|m|h|d|w)$'"
BY_SCHEMA: dict[str, tuple[Values, str, str]] = {
    "a wrong type": (
        {"replicas": "two"},
        "replicas: Invalid type. Expected: [integer,null], given: string",
        "at '/replicas': got string, want null or integer",
    ),
    "replicas below nothing": (
        {"replicas": -1},
        "replicas: Must be greater than or equal to 0",
        "at '/replicas': minimum: got -1, want 0",
    ),
    "a key that does not exist": (
        {"presistence": {"enabled": False}},
        "(root): Additional property presistence is not allowed",
        "at '': additional properties 'presistence' not allowed",
    ),
    "a key that does not exist, deep inside": (
        a_list(intervall="60s"),
        "config.sources.office.endpoints.connections: Additional property intervall is not allowed",
        "at '/config/sources/office/endpoints/connections': additional properties 'intervall' not allowed",
    ),
    "a key of the configuration that does not exist": (
        {"config": {"sauces": {}}},
        "config: Additional property sauces is not allowed",
        "at '/config': additional properties 'sauces' not allowed",
    ),
    "a kind that does not exist": (
        {"config": {"sinks": {"bus": {"kind": "rabbitmq"}}}},
        'config.sinks.bus.kind must be one of the following: "kafka", "ndjson", "webhook"',
        "at '/config/sinks/bus/kind': value must be one of 'kafka', 'ndjson', 'webhook'",
    ),
    "a phone system without its address": (
        {"config": {"sources": {"office": {"kind": "thulium", "username": "u"}}}},
        "config.sources.office: base_url is required",
        "at '/config/sources/office': missing properties 'base_url', 'password', 'endpoints'",
    ),
    "a name with a blank": (
        {"config": {"sinks": {"my sink": {"kind": "ndjson", "path": "-"}}}},
        "config.sinks: Additional property my sink is not allowed",
        "at '/config/sinks': additional properties 'my sink' not allowed",
    ),
    "a secret itself": (
        source(password="hunter2"),
        "config.sources.office.password: Invalid type. Expected: object, given: string",
        "at '/config/sources/office/password': got string, want object",
    ),
    "a secret itself, as the DSN": (
        {"config": {"store": {"kind": "postgres", "dsn": "postgresql://calls:hunter2@db/calls"}}},
        "config.store.dsn: Invalid type. Expected: object, given: string",
        "at '/config/store/dsn': got string, want object",
    ),
    "a secret itself, where a Secret is named": (
        {"secrets": {"env": {"P": "hunter2"}}},
        "secrets.env.P: Invalid type. Expected: object, given: string",
        "at '/secrets/env/P': got string, want object",
    ),
    "a reference without its key": (
        {"secrets": {"env": {"P": {"name": "s"}}}},
        "secrets.env.P: key is required",
        "at '/secrets/env/P': missing property 'key'",
    ),
    "a duration in words": (
        {"config": {"retention": "7 days"}},
        f"config.retention: D{DURATION}",
        f"at '/config/retention': '7 days' d{DURATION}",
    ),
    "a duration without its unit": (
        {"config": {"retention": 7}},
        "config.retention: Invalid type. Expected: string, given: integer",
        "at '/config/retention': got number, want string",
    ),
    "the schedule of a cron job": (
        a_list(interval="*/5 * * * *"),
        f"config.sources.office.endpoints.connections.interval: D{DURATION}",
        f"at '/config/sources/office/endpoints/connections/interval': '*/5 * * * *' d{DURATION}",
    ),
    "a status page without its token": (
        {"config": {"admin": {"listen": "127.0.0.1:9465"}}},
        "config.admin: token is required",
        "at '/config/admin': missing property 'token'",
    ),
    "a tag that YAML takes for a number": (
        {"image": {"tag": 1.10}},
        "image.tag: Invalid type. Expected: string, given: number",
        "at '/image/tag': got number, want string",
    ),
    "a digest that is none": (
        {"image": {"digest": "latest"}},
        "image.digest: Does not match pattern '^(sha256:[0-9a-f]{64})?$'",
        "at '/image/digest': 'latest' does not match pattern '^(sha256:[0-9a-f]{64})?$'",
    ),
    "a number for a variable": (
        {"env": {"A": 1}},
        "env.A: Invalid type. Expected: string, given: integer",
        "at '/env/A': got number, want string",
    ),
    "a budget that blocks a drain": (
        {"podDisruptionBudget": {"maxUnavailable": 0}},
        "podDisruptionBudget.maxUnavailable: Must be greater than or equal to 1",
        "at '/podDisruptionBudget/maxUnavailable': minimum: got 0, want 1",
    ),
}
BY_CHART: dict[str, tuple[Values, str]] = {
    "several pods on one file": (
        {"replicas": 2},
        "replicas is 2, but a store of kind sqlite belongs to one pod: set config.store to {kind: postgres, dsn: {env: POLLER_DSN}}, or replicas to 1",
    ),
    "a variable that nothing sets": (
        {"config": {"store": {"kind": "postgres", "dsn": {"env": "POLLER_DSN"}}}},
        "config refers to {env: POLLER_DSN}, which nothing sets: add it to secrets.env (POLLER_DSN: {name: SECRET, key: KEY})",
    ),
    "a file that nothing mounts": (
        source(password={"file": "/run/secrets/poller/office/password"}),
        "config refers to {file: /run/secrets/poller/office/password}, which nothing mounts: add its Secret to secrets.files",
    ),
    "one variable in two places": (
        {"env": {"A": "x"}, "secrets": {"env": {"A": {"name": "s", "key": "k"}}}},
        "A stands in env and in secrets.env: keep one",
    ),
    "a volume that the chart has": (
        {"extraVolumes": [{"name": "tmp", "emptyDir": {}}]},
        "extraVolumes has a volume tmp, and so has the chart: give it another name",
    ),
    "a folder that the chart mounts": (
        {"extraVolumeMounts": [{"name": "x", "mountPath": "/etc/poller/"}]},
        "extraVolumeMounts has /etc/poller/, where the chart mounts something of its own",
    ),
    "a container that the chart has": (
        {"extraContainers": [{"name": "poller", "image": "x"}]},
        "a container of initContainers or extraContainers is named poller, and so is the chart's",
    ),
    "an address without a port": (
        {"config": {"server": {"listen": "0.0.0.0"}}},
        "config.server.listen is 0.0.0.0, but probes and Prometheus come from outside the pod: write 0.0.0.0:9464",
    ),
    "metrics for the pod alone": (
        {"config": {"server": {"listen": "127.0.0.1:9464"}}},
        "config.server.listen is 127.0.0.1:9464, but probes and Prometheus come from outside the pod",
    ),
    "a port that there is not": (
        {"config": {"server": {"listen": "0.0.0.0:94640"}}},
        "config.server.listen is 0.0.0.0:94640",
    ),
    "a status page without a port": (
        page("0.0.0.0"),
        "config.admin.listen is 0.0.0.0: write 127.0.0.1:9465, which kubectl port-forward reaches, or 0.0.0.0:9465",
    ),
    "two on one port": (
        page("0.0.0.0:9464"),
        "config.admin.listen and config.server.listen both use port 9464: give the status page another one",
    ),
    "a Service for a page that there is not": (
        {"page": {"service": {"enabled": True}}},
        "page.service.enabled is true, but config.admin.listen is not set: set it to 0.0.0.0:9465",
    ),
    "a Service for a page that the pod keeps for itself": (
        page("127.0.0.1:9465", service={"enabled": True}),
        "page.service.enabled is true, but config.admin.listen is 127.0.0.1:9465: set it to 0.0.0.0:9465",
    ),
    "an Ingress to nothing": (
        page("0.0.0.0:9465", ingress={"enabled": True, "host": "a.example"}),
        "page.ingress.enabled is true, but page.service.enabled is not",
    ),
    "an Ingress for every host": (
        page("0.0.0.0:9465", service={"enabled": True}, ingress={"enabled": True}),
        "page.ingress.enabled is true, but page.ingress.host is empty: name the host",
    ),
    "a grace that is too short": (
        {"terminationGracePeriodSeconds": 30},
        "terminationGracePeriodSeconds is 30, but the program may take 35 (config.shutdown_grace, and 5 seconds for closing): give it more",
    ),
    "a store beside the volume": (
        {"config": {"store": {"kind": "sqlite", "path": "/data/poller.db"}}},
        "config.store.path is /data/poller.db, which is not on the volume: put it below /var/lib/poller/",
    ),
    "a store that climbs out of the volume": (
        {"config": {"store": {"kind": "sqlite", "path": "/var/lib/poller/../poller.db"}}},
        "config.store.path is /var/lib/poller/../poller.db, which is not on the volume",
    ),
    "a hook without a database": (
        {"migration": {"mode": "hook"}},
        "migration.mode is hook, but only a PostgreSQL store can be brought up to date from outside: set it to start",
    ),
}


def told(version: str, values: Values, folder: Path) -> str:
    """What Helm says to it, in one line."""
    path = folder / "values.yaml"
    path.write_text(yaml.safe_dump(values), encoding="utf-8")
    with pytest.raises(Refused) as caught:
        render(version, "--values", str(path))
    said = str(caught.value)
    assert "hunter2" not in said
    assert "nil pointer" not in said
    return " ".join(said.split())


@both
@pytest.mark.parametrize("fault", BY_SCHEMA)
def test_what_the_schema_refuses(version: str, fault: str, tmp_path: Path) -> None:
    values, three, four = BY_SCHEMA[fault]
    wanted = three if version == "3.17" else four.replace("\\", "\\\\")
    assert wanted in told(version, values, tmp_path)


@both
@pytest.mark.parametrize("fault", BY_CHART)
def test_what_the_chart_refuses(version: str, fault: str, tmp_path: Path) -> None:
    values, sentence = BY_CHART[fault]
    assert sentence in told(version, values, tmp_path)


def maps() -> list[str]:
    """Paths of the chart's values that hold a map, down to the second level."""
    values: Values = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))
    own = {key: value for key, value in values.items() if key != "config" and isinstance(value, dict)}
    return [
        *own,
        *(f"{key}.{name}" for key, value in own.items() for name, each in value.items() if isinstance(each, dict)),
    ]


@both
def test_defaults_that_are_taken_out(version: str) -> None:
    """They are done without, or missed in one sentence: never a fault of a template."""
    top = [path for path in maps() if "." not in path]
    with pytest.raises(Refused, match="null stands where the chart needs a value") as caught:
        render(version, "--set", ",".join(f"{path}=null" for path in top))
    (missed,) = re.findall(r"leave out (.*), to have the default", str(caught.value))
    needed = set(missed.split(", "))
    assert {"image", "probes"} <= needed
    spare = [path for path in maps() if path not in needed and ("." not in path or path.partition(".")[0] in needed)]
    assert {"env", "affinity", "resources", "secrets.files"} <= set(spare)
    assert len(render(version, "--set", ",".join(f"{path}=null" for path in spare))) >= 4


@pytest.mark.parametrize("path", ["probes.liveness", "secrets.env", "image.repository"])
def test_one_default_deep_inside_that_is_taken_out(path: str) -> None:
    with pytest.raises(Refused, match=f"leave out {path}, to have the default"):
        render("4.3", "--set", f"{path}=null")


def test_an_image_without_a_tag_is_the_charts_own_version() -> None:
    version = yaml.safe_load((CHART / "Chart.yaml").read_text(encoding="utf-8"))["appVersion"]
    pod = next(thing for thing in render("4.3", "--set", "image.tag=null") if thing["kind"] == "Pod")
    assert pod["spec"]["containers"][0]["image"].endswith(f"/poller:{version}")
