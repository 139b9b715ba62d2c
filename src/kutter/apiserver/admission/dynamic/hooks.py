"""Webhooks as they are called: configurations compiled once for each change.

Between the stored configurations and the plugins. ``Hooks`` follows the read cache, so a change
holds from the moment its write is acknowledged; what cannot match costs nothing, because the
chain asks ``might`` once per resource and operation.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from kutter.apiserver.admission.dynamic.conditions import Conditions, compile_conditions
from kutter.apiserver.admission.dynamic.matching import Matcher
from kutter.apiserver.ports import Change, Operation, Reader, Tree
from kutter.apiserver.webhooks import ClientConfig, read_client_config


class Hook(msgspec.Struct, frozen=True):
    """One webhook of a configuration. ``key`` tells it from all others, also of the same name."""

    key: str
    name: str
    configuration: str
    matcher: Matcher
    client: ClientConfig
    ignores_failure: bool
    reinvocable: bool
    side_effects: str
    timeout_s: float
    versions: tuple[str, ...]
    conditions: Conditions | None


def compile_hooks(configuration: Tree) -> tuple[Hook, ...]:
    """The webhooks of a validated configuration, in its order."""
    name = str(configuration["metadata"]["name"])
    seen: dict[str, int] = {}
    hooks = []
    for tree in configuration.get("webhooks") or ():
        own = str(tree["name"])
        seen[own] = seen.get(own, -1) + 1
        ignores = tree.get("failurePolicy") == "Ignore"
        hooks.append(
            Hook(
                key=f"{name}/{own}/{seen[own]}",
                name=own,
                configuration=name,
                matcher=Matcher(
                    tree.get("rules") or (),
                    match_policy=tree.get("matchPolicy") or "Equivalent",
                    namespace_selector=tree.get("namespaceSelector"),
                    object_selector=tree.get("objectSelector"),
                ),
                client=read_client_config(tree.get("clientConfig") or {}),
                ignores_failure=ignores,
                reinvocable=tree.get("reinvocationPolicy") == "IfNeeded",
                side_effects=tree.get("sideEffects") or "",
                timeout_s=float(tree.get("timeoutSeconds") or 10),
                versions=tuple(tree.get("admissionReviewVersions") or ()),
                conditions=compile_conditions(tree.get("matchConditions") or ()),
            )
        )
    return tuple(hooks)


class Hooks:
    """The webhooks of all configurations of one kind, by configuration name, then in order."""

    def __init__(self, group_resource: str) -> None:
        self._group_resource = group_resource
        self._by_name: dict[str, tuple[Hook, ...]] = {}
        self._all: tuple[Hook, ...] | None = ()
        self._on_change: Callable[[], None] = lambda: None

    def follow(self, reader: Reader, on_change: Callable[[], None]) -> None:
        """Read what is there and every change from now on; ``on_change`` is told of each."""
        self._on_change = on_change
        for tree in reader.list(self._group_resource):
            self._by_name[tree["metadata"]["name"]] = compile_hooks(tree)
        self._all = None
        reader.on_change(self._group_resource, self._changed)
        if self._by_name:
            on_change()

    def _changed(self, changes: list[Change]) -> None:
        for change in changes:
            if change.type == "DELETED":
                self._by_name.pop(change.current.name, None)
            else:
                self._by_name[change.current.name] = compile_hooks(change.current.tree)
        self._all = None
        self._on_change()

    @property
    def all(self) -> tuple[Hook, ...]:
        if self._all is None:
            in_order = [self._by_name[name] for name in sorted(self._by_name)]
            self._all = tuple(hook for hooks in in_order for hook in hooks)
        return self._all

    def might(self, plural: str, subresource: str, operation: Operation) -> bool:
        return any(hook.matcher.might(plural, subresource, operation) for hook in self.all)
