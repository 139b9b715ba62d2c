"""What namespaces and the cluster's configuration make of pods' selectors and tolerations."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.apiserver.admission.admission_kit import admit, pod, refused, request
from tests.unit.apiserver.fake_reader import FakeReader

from kutter.apiserver.admission.namespace_rules import (
    PodNodeSelector,
    PodTolerationRestriction,
    covers,
    merge,
    parse_labels,
)

PRESSURE = {
    "key": "node.kubernetes.io/memory-pressure",
    "operator": "Exists",
    "effect": "NoSchedule",
}
RED = {"key": "red", "operator": "Exists", "effect": "NoSchedule"}


def blue(**annotations: str) -> FakeReader:
    names = {
        "selector": "node-selector",
        "defaults": "defaultTolerations",
        "allowed": "tolerationsWhitelist",
    }
    reader = FakeReader()
    found = {f"scheduler.alpha.kubernetes.io/{names[k]}": v for k, v in annotations.items()}
    reader.put("namespaces", {"metadata": {"name": "blue", "annotations": found}})
    return reader


@pytest.mark.parametrize(
    ("annotation", "own", "made"),
    [
        ("disk=ssd,zone=a", {}, {"disk": "ssd", "zone": "a"}),
        ("disk=ssd", {"zone": "b", "disk": "ssd"}, {"disk": "ssd", "zone": "b"}),
        # Nothing is something, too: the cluster's default is for namespaces that say nothing.
        ("", {}, None),
        (None, {}, {"tier": "spot"}),
    ],
)
async def test_selectors(annotation: str | None, own: Any, made: Any) -> None:
    plugin = PodNodeSelector({"clusterDefaultNodeSelector": "tier=spot", "red": "a=b"})
    reader = blue() if annotation is None else blue(selector=annotation)
    tree = pod(nodeSelector=own) if own else pod()
    assert (await admit(plugin, request("pods", tree, reader)))["spec"].get("nodeSelector") == made


async def test_selectors_that_conflict() -> None:
    reader = blue(selector="disk=ssd")
    asked = request("pods", pod(nodeSelector={"disk": "hdd"}), reader)
    assert (await refused(PodNodeSelector({}), asked)).message.endswith(
        "is forbidden: pod node label selector conflicts with its namespace node label selector"
    )
    plugin = PodNodeSelector({"blue": "disk=ssd,zone=a"})
    await admit(plugin, request("pods", pod(nodeSelector={"zone": "a"}), reader))
    for own in ({"zone": "b"}, {"other": "x"}):
        error = await refused(plugin, request("pods", pod(nodeSelector=own), reader))
        assert (error.code, error.message.partition("forbidden: ")[2]) == (
            403,
            "pod node label selector labels conflict with its namespace whitelist",
        )
    error = await refused(PodNodeSelector({}), request("pods", pod(), blue(selector="a")))
    assert (error.code, error.message) == (500, "invalid selector: [a]")


def test_labels_are_read_as_upstream_reads_them() -> None:
    assert parse_labels(" a = b ,c=") == {"a": "b", "c": ""}
    for text in ("a", "a=b=c", "-=x", "a=b c"):
        with pytest.raises(ValueError, match="invalid selector"):
            parse_labels(text)


async def test_tolerations_of_a_namespace_and_of_the_cluster() -> None:
    plugin = PodTolerationRestriction([RED], [])
    made = await admit(plugin, request("pods", pod(), blue()))
    assert made["spec"]["tolerations"] == [RED]
    own = '[{"key":"own","operator":"Exists"}]'
    made = await admit(plugin, request("pods", pod(), blue(defaults=own)))
    assert made["spec"]["tolerations"] == [{"key": "own", "operator": "Exists"}]
    made = await admit(plugin, request("pods", pod(), blue(defaults="")))
    assert "tolerations" not in made["spec"]
    sized = pod()
    sized["spec"]["containers"][0]["resources"] = {"requests": {"cpu": "1"}}
    made = await admit(plugin, request("pods", sized, blue(defaults="")))
    assert made["spec"]["tolerations"] == [PRESSURE]
    # A change gets no defaults.
    asked = request("pods", pod(), blue(), operation="UPDATE", old=pod())
    assert "tolerations" not in (await admit(plugin, asked))["spec"]
    error = await refused(plugin, request("pods", pod(), blue(defaults="{")))
    assert error.code == 500


async def test_tolerations_that_are_not_allowed() -> None:
    text = "pod tolerations (possibly merged with namespace default tolerations) conflict with its"
    plugin = PodTolerationRestriction([], [RED])
    fine = pod(tolerations=[RED])
    await admit(plugin, request("pods", fine, blue()))
    other = pod(tolerations=[{"key": "other", "operator": "Exists"}])
    error = await refused(plugin, request("pods", other, blue()))
    assert (error.code, error.message) == (500, f"{text} cluster whitelist")
    error = await refused(
        PodTolerationRestriction([], []),
        request("pods", fine, blue(allowed='[{"key":"own","operator":"Exists"}]')),
    )
    assert error.message == f"{text} namespace whitelist"


@pytest.mark.parametrize(
    ("wide", "narrow", "covered"),
    [
        ({"operator": "Exists"}, {"key": "a", "operator": "Equal", "value": "b"}, True),
        ({"key": "a", "operator": "Exists"}, {"key": "b", "operator": "Exists"}, False),
        ({"key": "a", "operator": "Exists"}, {"key": "a", "effect": "NoExecute"}, True),
        ({"key": "a", "operator": "Exists", "effect": "NoExecute"}, {"key": "a"}, False),
        ({"key": "a", "value": "x"}, {"key": "a", "operator": "Equal", "value": "x"}, True),
        ({"key": "a", "value": "x"}, {"key": "a", "operator": "Equal", "value": "y"}, False),
        (
            {"operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 5},
            {"key": "a", "effect": "NoExecute"},
            False,
        ),
        (
            {"operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 5},
            {"key": "a", "effect": "NoExecute", "tolerationSeconds": 4},
            True,
        ),
    ],
)
def test_covering(wide: Any, narrow: Any, covered: bool) -> None:
    assert covers(wide, narrow) is covered


_TOLERATIONS = st.fixed_dictionaries(
    {"operator": st.sampled_from(["Exists", "Equal"])},
    optional={
        "key": st.sampled_from(["a", "b"]),
        "value": st.sampled_from(["x", "y"]),
        "effect": st.sampled_from(["NoSchedule", "NoExecute"]),
        "tolerationSeconds": st.integers(0, 2),
    },
)


@given(st.lists(_TOLERATIONS, max_size=6))
def test_merging_loses_nothing_and_is_done_once(given_ones: list[dict[str, Any]]) -> None:
    merged = merge(given_ones)
    assert all(one in given_ones for one in merged)
    assert all(any(covers(kept, one) for kept in merged) for one in given_ones)
    assert merge(merged) == merged
