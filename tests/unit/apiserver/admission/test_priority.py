from __future__ import annotations

from typing import Any

from tests.unit.apiserver.admission.admission_kit import admit, pod, refused, request
from tests.unit.apiserver.fake_reader import FakeReader

from kutter.apiserver.admission.priority import CLASSES, Priority


def priority_class(name: str, value: int, **more: Any) -> dict[str, Any]:
    return {"metadata": {"name": name}, "value": value, **more}


async def test_without_classes_priority_is_zero() -> None:
    spec = (await admit(Priority(), request("pods", pod(), FakeReader())))["spec"]
    assert spec["priority"] == 0
    assert spec["preemptionPolicy"] == "PreemptLowerPriority"
    assert "priorityClassName" not in spec


async def test_named_and_default_classes() -> None:
    reader = FakeReader()
    reader.put(CLASSES, priority_class("high", 1000, preemptionPolicy="Never"))
    reader.put(CLASSES, priority_class("base", 7, globalDefault=True))
    reader.put(CLASSES, priority_class("worse", 9, globalDefault=True))
    spec = (await admit(Priority(), request("pods", pod(priorityClassName="high"), reader)))["spec"]
    assert (spec["priority"], spec["preemptionPolicy"]) == (1000, "Never")
    spec = (await admit(Priority(), request("pods", pod(), reader)))["spec"]
    assert (spec["priority"], spec["priorityClassName"]) == (7, "base")


async def test_system_classes_resolve_before_they_exist() -> None:
    given = pod(priorityClassName="system-node-critical")
    spec = (await admit(Priority(), request("pods", given, FakeReader())))["spec"]
    assert spec["priority"] == 2000001000


async def test_refusals() -> None:
    reader = FakeReader()
    reader.put(CLASSES, priority_class("base", 7, globalDefault=True))
    error = await refused(Priority(), request("pods", pod(priorityClassName="x"), reader))
    assert error.message == 'pods "p" is forbidden: no PriorityClass with name x was found'
    error = await refused(Priority(), request("pods", pod(priority=8), reader))
    assert "the integer value of priority (8) must not be provided in pod spec" in error.message
    error = await refused(Priority(), request("pods", pod(preemptionPolicy="Never"), reader))
    assert "the string value of PreemptionPolicy (Never) must not be" in error.message
    second = priority_class("two", 1, globalDefault=True)
    error = await refused(Priority(), request(CLASSES, second, reader, namespace=""))
    assert error.message.endswith(
        "PriorityClass base is already marked as default. Only one default can exist"
    )
    await admit(
        Priority(),
        request(CLASSES, priority_class("base", 7, globalDefault=True), reader, namespace=""),
    )
