from __future__ import annotations

from typing import Any

import pytest
from tests.unit.apiserver.admission.admission_kit import pod, request
from tests.unit.apiserver.fake_reader import FakeReader

from kutter.api.errors import ApiError
from kutter.apiserver.admission.chain import AdmissionChain
from kutter.apiserver.admission.plugin import Plugin, object_name, refusal
from kutter.apiserver.admission.registry import default_plugins
from kutter.apiserver.ports import AdmissionRequest


class Noting(Plugin):
    def __init__(self, name: str, log: list[str], wanted: str) -> None:
        self.name = name  # type: ignore[misc]
        self.log = log
        self.wanted = wanted

    def wants(self, resource: str, operation: Any) -> bool:
        self.log.append(f"{self.name}? {resource} {operation}")
        return resource == self.wanted

    async def mutate(self, request: AdmissionRequest) -> None:
        self.log.append(f"{self.name} mutates")


class Strict(Noting):
    async def validate(self, request: AdmissionRequest) -> None:
        self.log.append(f"{self.name} validates")
        raise refusal(request, "never")


async def test_all_mutate_before_any_validates_and_wishes_are_asked_once() -> None:
    log: list[str] = []
    chain = AdmissionChain(
        [Strict("a", log, "pods/status"), Noting("b", log, "pods"), Noting("c", log, "pods/status")]
    )
    for _ in range(2):
        asked = request("pods/status", pod(), FakeReader(), operation="UPDATE")
        await chain.mutate(asked)
        with pytest.raises(ApiError):
            await chain.validate(asked)
    assert [entry for entry in log if "?" not in entry] == [
        "a mutates",
        "c mutates",
        "a validates",
    ] * 2
    assert [entry for entry in log if entry.startswith("b")] == ["b? pods/status UPDATE"] * 2


def test_refusals_name_the_object_as_far_as_it_has_a_name() -> None:
    asked = request("deployments.apps", pod(), FakeReader())
    assert refusal(asked, "no").message == 'deployments.apps "p" is forbidden: no'
    unnamed = {"metadata": {"generateName": "web-"}}
    assert object_name(request("pods", unnamed, FakeReader())) == "web-"
    assert object_name(request("pods", None, FakeReader())) == ""


def test_the_order_is_upstreams() -> None:
    names = [plugin.name for plugin in default_plugins()]
    assert names[:4] == ["NamespaceLifecycle", "LimitRanger", "ServiceAccount", "NodeRestriction"]
    assert len(names) == len(set(names))


async def test_a_change_by_webhooks_shows_all_once_more_and_no_third_time() -> None:
    rounds: list[int] = []

    class Again(Plugin):
        name = "Again"

        def wants(self, resource: str, operation: Any) -> bool:
            return True

        async def mutate(self, request: AdmissionRequest) -> None:
            rounds.append(request.round)
            request.reinvoke = request.round < 5

    await AdmissionChain([Again()]).mutate(request("pods", pod(), FakeReader()))
    assert rounds == [0, 1]


async def test_plugins_are_asked_anew_once_what_they_want_has_changed() -> None:
    called: list[str] = []

    class Changing(Plugin):
        name = "Changing"
        wanted = False

        def wants(self, resource: str, operation: Any) -> bool:
            return self.wanted

        async def mutate(self, request: AdmissionRequest) -> None:
            called.append("mutate")

        async def validate(self, request: AdmissionRequest) -> None:
            called.append("validate")

    plugin = Changing()
    chain = AdmissionChain([plugin])

    async def run() -> None:
        asked = request("pods", pod(), FakeReader())
        await chain.mutate(asked)
        await chain.validate(asked)

    await run()
    plugin.wanted = True
    await run()
    assert called == []
    chain.forget()
    await run()
    assert called == ["mutate", "validate"]


async def test_a_specification_is_spared_if_all_who_change_updates_say_so() -> None:
    class Looking(Plugin):
        name = "Looking"

        def wants(self, resource: str, operation: Any) -> bool:
            return resource == "pods"

    class Changing(Looking):
        name = "Changing"

        async def mutate(self, request: AdmissionRequest) -> None:
            return

    class Sparing(Changing):
        name = "Sparing"
        spares_spec = True

    resource = request("pods", pod(), FakeReader()).resource
    assert AdmissionChain([Looking(), Sparing()]).spares_spec(resource, "")
    chain = AdmissionChain([Looking(), Changing(), Sparing()])
    assert not chain.spares_spec(resource, "")
    assert chain.spares_spec(resource, "status")
    chain.plugins = (Sparing(),)
    assert not chain.spares_spec(resource, "")
    chain.forget()
    assert chain.spares_spec(resource, "")
