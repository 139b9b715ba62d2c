"""Configurations are compiled when they change, in order, and told."""

from __future__ import annotations

from typing import Any

from tests.unit.apiserver.fake_reader import FakeReader

from kutter.apiserver.admission.dynamic.hooks import Hooks

KIND = "validatingwebhookconfigurations.admissionregistration.k8s.io"


def configuration(name: str, *hooks: str) -> dict[str, Any]:
    rule = {
        "operations": ["CREATE"],
        "apiGroups": [""],
        "apiVersions": ["v1"],
        "resources": ["pods"],
    }
    webhooks = [{"name": h, "rules": [rule], "clientConfig": {"url": "https://x"}} for h in hooks]
    return {"metadata": {"name": name}, "webhooks": webhooks}


def test_hooks_follow_their_configurations() -> None:
    reader, told = FakeReader(), []
    reader.put(KIND, configuration("b", "one.b.io", "two.b.io"))
    hooks = Hooks(KIND)
    assert hooks.all == ()
    hooks.follow(reader, lambda: told.append(1))
    assert len(told) == 1
    reader.put(KIND, configuration("a", "one.a.io"))
    assert [hook.name for hook in hooks.all] == ["one.a.io", "one.b.io", "two.b.io"]
    assert hooks.all is hooks.all
    assert hooks.might("pods", "", "CREATE")
    assert not hooks.might("pods", "", "UPDATE")
    reader.remove(KIND, "", "b")
    reader.remove(KIND, "", "a")
    assert hooks.all == ()
    assert not hooks.might("pods", "", "CREATE")
    assert len(told) == 4


def test_equal_names_in_one_configuration_are_told_apart() -> None:
    reader = FakeReader()
    reader.put(KIND, configuration("a", "x.y.z", "x.y.z"))
    hooks = Hooks(KIND)
    hooks.follow(reader, lambda: None)
    assert [hook.key for hook in hooks.all] == ["a/x.y.z/0", "a/x.y.z/1"]
