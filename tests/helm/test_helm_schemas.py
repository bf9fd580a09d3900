"""What the chart makes is taken by Kubernetes from the oldest to the newest, and by the operators."""

import pytest
from helm_renders import VALUES, cases, one, render
from kube_schemas import faults

pytestmark = pytest.mark.helm
each_version = pytest.mark.parametrize("version", ["1.28", "1.32", "1.37"])


@each_version
@pytest.mark.parametrize("case", cases())
def test_strict_schemas(version: str, case: str) -> None:
    things = render("4.3", "--kube-version", version, "--values", str(VALUES / f"{case}.yaml"))
    checked = [thing for thing in things if thing["kind"] != "ExternalSecret"]  # the person's own object
    assert len(checked) >= 4
    assert [fault for thing in checked for fault in faults(thing, version)] == []


@each_version
def test_the_schemas_refuse_what_is_misspelt(version: str) -> None:
    pod = one(render("4.3"), "StatefulSet")
    pod["spec"]["template"]["spec"]["terminationGracePeriod"] = 5
    assert "terminationGracePeriod" in str(faults(pod, version))


@pytest.mark.parametrize("kind", ["PodMonitor", "ServiceMonitor", "PrometheusRule"])
def test_the_operators_schemas_refuse_what_is_misspelt(kind: str) -> None:
    thing = one(render("4.3", "--values", str(VALUES / "everything.yaml")), kind)
    thing["spec"]["intervall"] = "30s"
    assert "intervall" in str(faults(thing, "1.37"))


def test_an_older_kubernetes_is_refused() -> None:
    with pytest.raises(Exception, match="incompatible with Kubernetes"):
        render("4.3", "--kube-version", "1.27.0")
