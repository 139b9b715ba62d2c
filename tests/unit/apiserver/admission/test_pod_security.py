from typing import Any

import pytest
from tests.unit.apiserver.admission.admission_kit import pod, refused, request
from tests.unit.apiserver.fake_reader import FakeReader

from kutter.apiserver.admission.pod_security import (
    PodSecurity,
    PodSecurityMetrics,
    PodSecurityOptions,
)
from kutter.apiserver.authn.identity import User
from kutter.apiserver.pod_security.policy import PREFIX, LevelVersion, Policy
from kutter.base.metrics import Registry


def reader(**labels: str) -> FakeReader:
    made = FakeReader()
    named = {PREFIX + key.replace("_", "-"): value for key, value in labels.items()}
    made.put("namespaces", {"metadata": {"name": "blue", "labels": named}})
    return made


def noted(asked: Any) -> dict[str, str]:
    """The audit annotations of a request from here on."""
    notes: dict[str, str] = {}
    asked.annotate = notes.__setitem__
    return notes


def bad(name: str = "p", **spec: Any) -> dict[str, Any]:
    return pod(name, hostNetwork=True, **spec)


def deployment(template: dict[str, Any]) -> dict[str, Any]:
    return {"metadata": {"name": "d"}, "spec": {"template": template}}


async def test_pods_are_refused_and_noted() -> None:
    asked = request("pods", bad(), reader(enforce="baseline", audit="restricted"))
    notes = noted(asked)
    error = await refused(PodSecurity(), asked)
    assert (error.code, error.reason) == (403, "Forbidden")
    assert error.message == (
        'pods "p" is forbidden: violates PodSecurity "baseline:latest": host namespaces '
        "(hostNetwork=true)"
    )
    assert notes[PREFIX + "enforce-policy"] == "baseline:latest"
    assert notes[PREFIX + "audit-violations"].startswith(
        'would violate PodSecurity "restricted:latest": host namespaces (hostNetwork=true), allow'
    )
    assert asked.warnings == []


async def test_pods_that_would_be_refused_elsewhere_are_warned_of() -> None:
    asked = request("pods", bad(), reader(warn="baseline", warn_version="v1.30"))
    await PodSecurity().validate(asked)
    assert asked.warnings == [
        'would violate PodSecurity "baseline:v1.30": host namespaces (hostNetwork=true)'
    ]


@pytest.mark.parametrize(
    ("what", "wrap"),
    [
        ("deployments.apps", deployment),
        ("replicationcontrollers", deployment),
        ("podtemplates", lambda t: {"metadata": {"name": "d"}, "template": t}),
        (
            "cronjobs.batch",
            lambda t: {
                "metadata": {"name": "d"},
                "spec": {"jobTemplate": {"spec": {"template": t}}},
            },
        ),
    ],
)
async def test_workloads_are_never_refused(what: str, wrap: Any) -> None:
    asked = request(what, wrap(bad()), reader(enforce="restricted", audit="baseline"))
    notes = noted(asked)
    await PodSecurity().validate(asked)
    assert asked.warnings[0].startswith('would violate PodSecurity "restricted:latest": host')
    assert list(notes) == [PREFIX + "audit-violations"]


async def test_a_controller_without_a_template_is_fine() -> None:
    tree = {"metadata": {"name": "d"}, "spec": {}}
    await PodSecurity().validate(
        request("replicationcontrollers", tree, reader(enforce="restricted"))
    )


async def test_only_updates_that_matter_are_looked_at() -> None:
    rules = reader(enforce="baseline")
    plugin = PodSecurity()
    labelled = bad()
    labelled["metadata"]["labels"] = {"a": "b"}
    await plugin.validate(request("pods", labelled, rules, operation="UPDATE", old=bad()))
    image = bad(containers=[{"name": "c", "image": "other"}])
    await refused(plugin, request("pods", image, rules, operation="UPDATE", old=bad()))
    added = bad(ephemeralContainers=[{"name": "debug", "image": "i"}])
    asked = request("pods/ephemeralcontainers", added, rules, operation="UPDATE", old=bad())
    await refused(plugin, asked)
    assert not plugin.wants("pods/status", "UPDATE")
    assert not plugin.wants("pods/binding", "CREATE")


async def test_exemptions_are_noted() -> None:
    rules = reader(enforce="restricted")
    cases = [
        (PodSecurityOptions(namespaces=frozenset({"blue"})), bad(), "namespace"),
        (PodSecurityOptions(usernames=frozenset({"ann"})), bad(), "user"),
        (
            PodSecurityOptions(runtime_classes=frozenset({"vm"})),
            bad(runtimeClassName="vm"),
            "runtimeClass",
        ),
    ]
    for options, tree, expected in cases:
        asked = request("pods", tree, rules)
        notes = noted(asked)
        await PodSecurity(options).validate(asked)
        assert notes == {PREFIX + "exempt": expected}
    with_other = PodSecurityOptions(runtime_classes=frozenset({"vm"}))
    await refused(PodSecurity(with_other), request("pods", bad(), rules))


async def test_defaults_count_where_labels_say_nothing() -> None:
    plugin = PodSecurity(PodSecurityOptions(defaults=Policy(enforce=LevelVersion("baseline", 30))))
    error = await refused(plugin, request("pods", bad(), reader()))
    assert 'violates PodSecurity "baseline:v1.30"' in error.message
    await plugin.validate(request("pods", bad(), reader(enforce="privileged")))


def namespace(**labels: str) -> dict[str, Any]:
    named = {PREFIX + key.replace("_", "-"): value for key, value in labels.items()}
    return {"metadata": {"name": "blue", "labels": named}}


async def test_labels_have_to_be_right() -> None:
    asked = request("namespaces", namespace(enforce="strict"), reader(), namespace="")
    error = await refused(PodSecurity(), asked)
    assert (error.code, error.reason) == (422, "Invalid")
    assert error.message == (
        'Namespace "blue" is invalid: metadata.labels[pod-security.kubernetes.io/enforce]: '
        'Invalid value: "strict": must be one of privileged, baseline, restricted'
    )
    # What is wrong already may stay so.
    same = request(
        "namespaces",
        {**namespace(enforce="strict", audit="baseline")},
        reader(),
        operation="UPDATE",
        old=namespace(enforce="strict"),
        namespace="",
    )
    await PodSecurity().validate(same)


async def test_a_stricter_namespace_tells_of_the_pods_it_has() -> None:
    rules = reader()
    for name in ("z", "a", "m"):
        rules.put("pods", bad(name))
    fine = pod("fine")
    fine["spec"]["containers"][0]["securityContext"] = {"privileged": True}
    rules.put("pods", fine)

    async def change(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
        asked = request("namespaces", new, rules, operation="UPDATE", old=old, namespace="")
        await PodSecurity().validate(asked)
        return asked.warnings

    assert await change(namespace(), namespace(enforce="baseline")) == [
        (
            'existing pods in namespace "blue" violate the new PodSecurity enforce level '
            '"baseline:latest"'
        ),
        "a (and 2 other pods): host namespaces",
        "fine: privileged",
    ]
    assert await change(namespace(enforce="restricted"), namespace(enforce="baseline")) == []
    assert await change(namespace(enforce="baseline"), namespace(enforce="privileged")) == []
    pinned = namespace(enforce="baseline", enforce_version="v1.20")
    assert len(await change(namespace(enforce="baseline"), pinned)) == 3


async def test_evaluations_and_exemptions_are_counted() -> None:
    counted = Registry()
    plugin = PodSecurity(PodSecurityOptions(usernames=frozenset({"root"})))
    plugin.metrics = PodSecurityMetrics(counted)
    rules = reader(enforce="baseline", warn="restricted", warn_version="v1.99")
    await refused(plugin, request("pods", bad(), rules))
    await plugin.validate(request("pods", pod(), rules))
    await plugin.validate(request("pods", bad(), rules, user=User("root")))
    text = counted.render().decode()
    for labels in (
        'decision="deny",policy_level="baseline",policy_version="latest",mode="enforce"',
        'decision="allow",policy_level="baseline",policy_version="latest",mode="enforce"',
        'decision="deny",policy_level="restricted",policy_version="future",mode="warn"',
    ):
        request_labels = 'request_operation="create",resource="pod",subresource=""'
        assert f"pod_security_evaluations_total{{{labels},{request_labels}}} 1" in text
    assert f"pod_security_exemptions_total{{{request_labels}}} 1" in text
