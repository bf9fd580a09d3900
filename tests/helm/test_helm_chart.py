"""The chart under the oldest and the newest Helm: what it renders, what it refuses, and what every pod of it must be."""

import json
import re
import shutil
import tarfile
from pathlib import Path
from typing import Any

import chart_readme
import chart_schema
import pytest
import yaml
from helm_renders import CHART, GOLDEN, ROOT, VALUES, Thing, cases, one, render, run_helm, shortened
from jsonschema import Draft7Validator

pytestmark = pytest.mark.helm
VERSIONS = ("3.17", "4.3")
both = pytest.mark.parametrize("version", VERSIONS)
each = pytest.mark.parametrize("case", cases())


def values(case: str) -> tuple[str, str]:
    return ("--values", str(VALUES / f"{case}.yaml"))


def pods(things: list[Thing]) -> list[Thing]:
    """Every pod's specification, whatever makes it."""
    bare = [thing["spec"] for thing in things if thing["kind"] == "Pod"]
    return bare + [thing["spec"]["template"]["spec"] for thing in things if "template" in thing.get("spec", {})]


@both
@each
def test_golden(version: str, case: str) -> None:
    kept = list(yaml.safe_load_all((GOLDEN / f"{case}.yaml").read_text(encoding="utf-8")))
    assert shortened(render(version, *values(case))) == kept


@both
def test_lint(version: str) -> None:
    assert "0 chart(s) failed" in run_helm(version, "lint", "--strict", str(CHART))


@each
def test_every_pod_meets_the_restricted_standard(case: str) -> None:
    found = pods(render("4.3", *values(case)))
    assert len(found) >= 2  # the daemon's and the test's
    for pod in found:
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert pod["securityContext"]["runAsUser"] >= 10000
        assert pod["automountServiceAccountToken"] is False
        assert all(
            set(volume) & {"configMap", "emptyDir", "secret", "persistentVolumeClaim"}
            for volume in pod.get("volumes", ())
        )
        for container in pod["containers"]:
            own = container["securityContext"]
            assert (own["allowPrivilegeEscalation"], own["readOnlyRootFilesystem"]) == (False, True)
            assert own["capabilities"] == {"drop": ["ALL"]}
            assert {"requests", "limits"} <= set(container["resources"])


@each
def test_names_in_a_list_are_unique(case: str) -> None:
    """Helm 4 applies on the server, which takes no two entries of one key."""
    for pod in pods(render("4.3", *values(case))):
        for container in pod["containers"]:
            unique(container.get("env", ()), "name")
            unique(container.get("volumeMounts", ()), "mountPath")
            unique(container.get("ports", ()), "name")
        unique(pod.get("volumes", ()), "name")


def unique(entries: Any, key: str) -> None:
    found = [entry[key] for entry in entries]
    assert len(found) == len(set(found)), found


@each
def test_selectors_find_the_daemon_and_nothing_else(case: str) -> None:
    things = render("4.3", *values(case))
    (owner,) = (thing for thing in things if thing["kind"] in {"StatefulSet", "Deployment"})
    labels = owner["spec"]["template"]["metadata"]["labels"].items()
    others = {f"{owner['metadata']['name']}-{pod}" for pod in ("test", "migration")}
    things = [thing for thing in things if thing["metadata"]["name"] not in others]
    selectors = [thing["spec"]["selector"] for thing in things if "selector" in thing.get("spec", {})]
    selectors += [thing["spec"]["podSelector"] for thing in things if "podSelector" in thing.get("spec", {})]
    assert len(selectors) >= 2
    for selector in selectors:
        wanted = selector.get("matchLabels", selector).items()
        assert wanted <= labels
        assert "component" in str(wanted)


def test_the_configuration_is_passed_on_as_it_stands() -> None:
    given = yaml.safe_load((VALUES / "sqlite.yaml").read_text(encoding="utf-8"))["config"]
    text = one(render("3.17", *values("sqlite")), "ConfigMap")["data"]["poller.yaml"]
    kept = yaml.safe_load(text)
    assert {key: kept[key] for key in given} == given
    assert "10000000" in text  # and no 1e+07
    assert kept["store"] == {"kind": "sqlite", "path": "/var/lib/poller/poller.db"}


def test_a_changed_configuration_restarts_and_nothing_else_does() -> None:
    def checksum(*more: str) -> str:
        pod = one(render("4.3", *values("sqlite"), *more), "StatefulSet")["spec"]["template"]
        return str(pod["metadata"]["annotations"]["checksum/config"])

    assert checksum() == checksum("--set", "networkPolicy.enabled=false")
    assert checksum() != checksum("--set", "config.log.level=debug")


@pytest.mark.parametrize(
    ("grace", "seconds"), [("30s", 50), ("1.5m", 110), ("0s", 20), ("500ms", 21), ("1h", 3620)]
)  # fmt: skip
def test_the_grace_of_the_pod_is_longer_than_the_programs(grace: str, seconds: int) -> None:
    pod = one(render("4.3", "--set", f"config.shutdown_grace={grace}"), "StatefulSet")["spec"]["template"]["spec"]
    assert pod["terminationGracePeriodSeconds"] == seconds


def policy(component: str, *arguments: str) -> Thing:
    found = [thing for thing in render("4.3", *arguments) if thing["kind"] == "NetworkPolicy"]
    (one_of_them,) = (
        thing for thing in found if thing["metadata"]["labels"]["app.kubernetes.io/component"] == component
    )
    spec: Thing = one_of_them["spec"]
    return spec


def test_the_tests_pod_reaches_the_daemon_and_nothing_else() -> None:
    spec = policy("test")
    pod = next(thing for thing in render("4.3") if thing["kind"] == "Pod")
    assert spec["podSelector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()
    (_, daemon) = spec["egress"]
    labels = one(render("4.3"), "StatefulSet")["spec"]["template"]["metadata"]["labels"]
    assert daemon["to"][0]["podSelector"]["matchLabels"].items() <= labels.items()


def test_egress_leads_to_the_ports_that_the_configuration_names() -> None:
    egress = policy("daemon", *values("sqlite"))["egress"]
    assert [rule["port"] for rule in egress[1]["ports"]] == [443, 8443, 9092, 9093, 9094]
    egress = policy("daemon", *values("postgres"))["egress"]
    assert [rule["port"] for rule in egress[1]["ports"]] == [443, 5432]


def test_the_migration_reaches_the_database_and_nothing_else() -> None:
    spec = policy("migration", *values("migrated"), "--set", "networkPolicy.extraPorts={6432}")
    job = one(render("4.3", *values("migrated")), "Job")
    assert spec["podSelector"]["matchLabels"].items() <= job["spec"]["template"]["metadata"]["labels"].items()
    assert [rule["port"] for rule in spec["egress"][1]["ports"]] == [5432, 6432]
    assert spec["ingress"] == []
    hook = next(
        thing
        for thing in render("4.3", *values("migrated"))
        if thing["kind"] == "NetworkPolicy" and "annotations" in thing["metadata"]
    )
    order = [int(thing["metadata"]["annotations"]["helm.sh/hook-weight"]) for thing in (hook, job)]
    assert order == sorted(set(order))  # it is there before the job is


def test_the_status_page_is_for_others_only_where_that_is_said() -> None:
    token = "config.admin.token.env=T,secrets.env.T.name=s,secrets.env.T.key=k"
    for listen, ports in {"127.0.0.1:9465": ["metrics"], "0.0.0.0:9465": ["metrics", "page"]}.items():
        things = render("4.3", "--set", f"config.admin.listen={listen},{token}")
        (container,) = one(things, "StatefulSet")["spec"]["template"]["spec"]["containers"]
        assert [port["name"] for port in container["ports"]] == ports
        assert [thing["metadata"]["name"] for thing in things if thing["kind"] == "Service"] == ["calls-poller"]
    assert len(policy("daemon", "--set", f"config.admin.listen=0.0.0.0:9465,{token}")["ingress"]) == 1


def test_the_status_page_has_a_service_an_ingress_and_a_way_in() -> None:
    things = render("4.3", *values("page"))
    (service,) = (
        thing for thing in things if thing["metadata"]["name"] == "calls-poller-page" and thing["kind"] == "Service"
    )
    assert service["spec"]["ports"] == [{"name": "http", "port": 80, "targetPort": "page", "protocol": "TCP"}]
    backend = one(things, "Ingress")["spec"]["rules"][0]["http"]["paths"][0]["backend"]["service"]
    assert backend == {"name": "calls-poller-page", "port": {"name": "http"}}
    (_, way) = policy("daemon", *values("page"))["ingress"]
    assert way["ports"] == [{"port": "page", "protocol": "TCP"}]
    assert way["from"] == [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "ingress-nginx"}}}]
    assert "token" not in str([thing for thing in things if thing["kind"] in {"Ingress", "Service"}])


@pytest.mark.parametrize(
    "key", ["config", "config.admin", "config.admin.socket", "config.server", "config.server.listen"]
)
def test_an_address_that_is_taken_out_is_filled_in(key: str) -> None:
    """`key: null` takes the default of values.yaml away, and the program's own is not for a pod."""
    kept = yaml.safe_load(one(render("4.3", "--set", f"{key}=null"), "ConfigMap")["data"]["poller.yaml"])
    assert (kept["server"]["listen"], kept["admin"]["socket"]) == ("0.0.0.0:9464", "/run/poller/poller.sock")


def test_a_broker_without_a_port_has_the_usual_one() -> None:
    brokers = "config.sinks.k.bootstrap_servers={kafka-1,[fd00::2],kafka-3:9094}"
    egress = policy("daemon", "--set", f"config.sinks.k.kind=kafka,{brokers}")["egress"]
    assert [rule["port"] for rule in egress[1]["ports"]] == [443, 9092, 9094]


RULES = """\
groups:
  - name: poller
    rules:
      - {record: "poller:pending:sum", expr: sum(poller_pending_events)}
      - {alert: PollerBehind, expr: poller_pending_events > 9, labels: {severity: page}, annotations: {summary: "{{ $labels.sink }}"}}
"""
BOARD = '{"title": "{{ source }}"}\n'


@both
def test_rules_and_dashboards_are_taken_from_the_chart(version: str, tmp_path: Path) -> None:
    chart = shutil.copytree(CHART, tmp_path / "poller", ignore=shutil.ignore_patterns("files"))
    for name, text in {"files/rules.yaml": RULES, "files/dashboards/one_source.json": BOARD}.items():
        (chart / name).parent.mkdir(parents=True, exist_ok=True)
        (chart / name).write_text(text, encoding="utf-8")
    things = render(version, *values("everything"), chart=chart)
    ours, own = one(things, "PrometheusRule")["spec"]["groups"]
    assert own["name"] == "own"
    assert ours["rules"][0] == {"record": "poller:pending:sum", "expr": "sum(poller_pending_events)"}
    assert ours["rules"][1]["labels"] == {"severity": "page", "team": "voice"}
    assert ours["rules"][1]["annotations"] == {"summary": "{{ $labels.sink }}"}
    (board,) = (thing for thing in things if thing["kind"] == "ConfigMap" and "one_source.json" in thing["data"])
    assert board["data"] == {"one_source.json": BOARD}
    assert board["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert one(things, "GrafanaDashboard")["spec"]["configMapRef"] == {
        "name": "telephony-one-source",
        "key": "one_source.json",
    }


@both
def test_as_a_subchart(version: str, tmp_path: Path) -> None:
    shutil.copytree(CHART, tmp_path / "charts" / "poller")
    chart: dict[str, Any] = {"apiVersion": "v2", "name": "site", "version": "1.0.0"}
    chart |= {"dependencies": [{"name": "poller", "version": "0.1.0", "condition": "poller.enabled"}]}
    (tmp_path / "Chart.yaml").write_text(json.dumps(chart), encoding="utf-8")
    own = {"enabled": True, **yaml.safe_load((VALUES / "postgres.yaml").read_text(encoding="utf-8"))}
    (tmp_path / "values.yaml").write_text(json.dumps({"global": {"site": "one"}, "poller": own}), encoding="utf-8")
    assert one(render(version, chart=tmp_path), "Deployment")["spec"]["replicas"] == 2
    assert render(version, "--set", "poller.enabled=false", chart=tmp_path) == []


PACKED = re.compile(
    r"poller/(Chart[.]yaml|README[.]md|[.]helmignore|values[.](yaml|schema[.]json)|files/.*[.](yaml|json)|templates/.*[.](yaml|tpl|txt))"
)


@both
def test_the_package_is_the_chart(version: str, tmp_path: Path) -> None:
    """What a release publishes: nothing besides, and the same objects."""
    run_helm(version, "package", str(CHART), "--destination", str(tmp_path))
    (path,) = tmp_path.glob("poller-*.tgz")
    with tarfile.open(path) as package:
        names = [member.name for member in package if member.isfile()]
    assert len(names) > 20
    assert [name for name in names if PACKED.fullmatch(name) is None] == []
    assert render(version, *values("everything"), chart=path) == render(version, *values("everything"))


def test_notes_say_what_to_do_next() -> None:
    """Helm 3 prints none without a cluster; it renders them with everything else."""
    said = run_helm("4.3", "install", "calls", str(CHART), "--dry-run=client", "--set", "persistence.enabled=false")
    for line in (
        "rollout status statefulset/calls-poller",
        "IT DOES NOT START YET: config.sources is empty",
        "IT DOES NOT START YET: config.sinks is empty",
        "The store goes with its pod",
    ):
        assert line in said


def test_notes_say_where_the_status_page_is() -> None:
    said = run_helm("4.3", "install", "calls", str(CHART), "--dry-run=client", *values("page"))
    assert "Open the status page at https://poller.example/" in said


def test_the_schema_is_the_programs_own() -> None:
    kept = chart_schema.TARGET.read_text(encoding="utf-8")
    assert kept == chart_schema.text(), "make docs writes it anew"
    Draft7Validator.check_schema(json.loads(kept))


def test_the_readme_is_made_of_the_values() -> None:
    assert chart_readme.TARGET.read_text(encoding="utf-8") == chart_readme.text(), "make docs writes it anew"


def test_what_the_readme_shows_can_be_rendered(tmp_path: Path) -> None:
    blocks = re.findall(r"```yaml\n(.*?)```", chart_readme.TARGET.read_text(encoding="utf-8"), re.DOTALL)
    for number, block in enumerate(blocks):
        (tmp_path / f"{number}.yaml").write_text(block, encoding="utf-8")
    one_pod, *several = sorted(tmp_path.glob("*.yaml"))
    assert one(render("4.3", "--values", str(one_pod)), "StatefulSet")
    things = render("4.3", *(f"--values={path}" for path in several))
    assert {"Deployment", "Job", "ExternalSecret"} <= {thing["kind"] for thing in things}


def test_the_example_configuration_is_taken() -> None:
    """But for its addresses, which are not those of a pod."""
    example = yaml.safe_load((ROOT / "config" / "poller.yaml").read_text(encoding="utf-8"))
    example |= {"server": {"listen": "0.0.0.0:9464"}, "admin": {"socket": "/run/poller/poller.sock"}}
    schema = json.loads(chart_schema.TARGET.read_text(encoding="utf-8"))
    assert [error.message for error in Draft7Validator(schema).iter_errors({"config": example})] == []
