"""Admission policies and their bindings, compiled once for each change.

Between the stored objects and the plugins, as :mod:`kutter.apiserver.admission.dynamic.hooks` is
for webhooks. A policy without a binding does nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

import msgspec

from kutter.apiserver.admission.dynamic.conditions import Conditions, compile_conditions
from kutter.apiserver.admission.dynamic.expressions import Composition, Expression
from kutter.apiserver.admission.dynamic.matching import Matcher
from kutter.apiserver.ports import Change, Operation, Reader, Tree


class Binding(msgspec.Struct, frozen=True):
    """``params`` is the ``paramRef``."""

    name: str
    policy: str
    matcher: Matcher
    params: Tree | None
    actions: tuple[str, ...]


class Policy(msgspec.Struct, frozen=True):
    """What policies of both sorts have."""

    name: str
    matcher: Matcher
    param_kind: Tree | None
    conditions: Conditions | None
    composition: Composition
    ignores_failure: bool


class Validation(msgspec.Struct, frozen=True):
    expression: Expression
    message: str
    worded: Expression | None
    reason: str


class ValidatingPolicy(Policy, frozen=True):
    """``annotations``: key and expression of its value."""

    validations: tuple[Validation, ...] = ()
    annotations: tuple[tuple[str, Expression], ...] = ()


class MutatingPolicy(Policy, frozen=True):
    """``mutations``: patch type and expression, in order."""

    mutations: tuple[tuple[str, Expression], ...] = ()
    reinvocable: bool = False


def _matcher(match: Tree | None) -> Matcher:
    match = match or {}
    return Matcher(
        match.get("resourceRules") or (),
        excluded=match.get("excludeResourceRules") or (),
        match_policy=match.get("matchPolicy") or "Equivalent",
        namespace_selector=match.get("namespaceSelector"),
        object_selector=match.get("objectSelector"),
        open=True,
    )


def compile_binding(tree: Tree) -> Binding:
    spec: Tree = tree.get("spec") or {}
    return Binding(
        name=str(tree["metadata"]["name"]),
        policy=str(spec.get("policyName") or ""),
        matcher=_matcher(spec.get("matchResources")),
        params=spec.get("paramRef"),
        actions=tuple(spec.get("validationActions") or ()),
    )


def _common(tree: Tree, *, patches: bool) -> dict[str, Any]:
    spec: Tree = tree.get("spec") or {}
    params = spec.get("paramKind") is not None
    composition = Composition(params=params, patches=patches, variables=True)
    for variable in spec.get("variables") or ():
        composition.add_variable(str(variable["name"]), str(variable["expression"]))
    return {
        "name": str(tree["metadata"]["name"]),
        "matcher": _matcher(spec.get("matchConstraints")),
        "param_kind": spec.get("paramKind"),
        "conditions": compile_conditions(spec.get("matchConditions") or (), params=params),
        "composition": composition,
        "ignores_failure": spec.get("failurePolicy") == "Ignore",
    }


def compile_validating(tree: Tree) -> ValidatingPolicy:
    common = _common(tree, patches=False)
    compile_text = common["composition"].compile
    spec: Tree = tree.get("spec") or {}
    validations = []
    for validation in spec.get("validations") or ():
        worded = validation.get("messageExpression")
        validations.append(
            Validation(
                expression=compile_text(str(validation.get("expression") or "")),
                message=str(validation.get("message") or "").strip(),
                worded=compile_text(str(worded), authorizer=False) if worded else None,
                reason=str(validation.get("reason") or "Invalid"),
            )
        )
    annotations = [
        (str(a.get("key") or ""), compile_text(str(a.get("valueExpression") or "").strip()))
        for a in spec.get("auditAnnotations") or ()
    ]
    return ValidatingPolicy(
        **common, validations=tuple(validations), annotations=tuple(annotations)
    )


def compile_mutating(tree: Tree) -> MutatingPolicy:
    common = _common(tree, patches=True)
    spec: Tree = tree.get("spec") or {}
    mutations = []
    for mutation in spec.get("mutations") or ():
        kind = str(mutation.get("patchType") or "")
        body = mutation.get("jsonPatch" if kind == "JSONPatch" else "applyConfiguration") or {}
        expression = str(body.get("expression") or "").strip()
        mutations.append((kind, common["composition"].compile(expression)))
    return MutatingPolicy(
        **common,
        mutations=tuple(mutations),
        reinvocable=spec.get("reinvocationPolicy") == "IfNeeded",
    )


P = TypeVar("P", bound=Policy)


class Active(msgspec.Struct, Generic[P], frozen=True):
    """A policy that is bound."""

    policy: P
    bindings: tuple[Binding, ...] = msgspec.field(default=())

    def might(self, plural: str, subresource: str, operation: Operation) -> bool:
        return self.policy.matcher.might(plural, subresource, operation) and any(
            binding.matcher.might(plural, subresource, operation) for binding in self.bindings
        )


class Policies(Generic[P]):
    """The bound policies of one kind, by name, each with its bindings by name."""

    def __init__(self, policies: str, bindings: str, compile_policy: Callable[[Tree], P]) -> None:
        self._places = (policies, bindings)
        self._compile = compile_policy
        self._policies: dict[str, P] = {}
        self._bindings: dict[str, Binding] = {}
        self._active: tuple[Active[P], ...] | None = ()
        self._on_change: Callable[[], None] = lambda: None

    def follow(self, reader: Reader, on_change: Callable[[], None]) -> None:
        """Read what is there and every change from now on; ``on_change`` is told of each."""
        policies, bindings = self._places
        self._on_change = on_change
        for tree in reader.list(policies):
            self._policies[tree["metadata"]["name"]] = self._compile(tree)
        for tree in reader.list(bindings):
            self._bindings[tree["metadata"]["name"]] = compile_binding(tree)
        reader.on_change(policies, self._policy_changed)
        reader.on_change(bindings, self._binding_changed)
        self._active = None
        if self.active:
            on_change()

    def _policy_changed(self, changes: list[Change]) -> None:
        for change in changes:
            name = change.current.name
            if change.type == "DELETED":
                self._policies.pop(name, None)
                continue
            tree = change.current.tree
            before = change.previous.tree if change.previous is not None else None
            if before is not None and name in self._policies and tree["spec"] == before["spec"]:
                continue  # the status of type checking, mostly
            self._policies[name] = self._compile(tree)
        self._changed()

    def _binding_changed(self, changes: list[Change]) -> None:
        for change in changes:
            if change.type == "DELETED":
                self._bindings.pop(change.current.name, None)
            else:
                self._bindings[change.current.name] = compile_binding(change.current.tree)
        self._changed()

    def _changed(self) -> None:
        self._active = None
        self._on_change()

    @property
    def active(self) -> tuple[Active[P], ...]:
        if self._active is None:
            found = []
            for name in sorted(self._policies):
                bound = [b for _, b in sorted(self._bindings.items()) if b.policy == name]
                if bound:
                    found.append(Active(self._policies[name], tuple(bound)))
            self._active = tuple(found)
        return self._active

    def might(self, plural: str, subresource: str, operation: Operation) -> bool:
        return any(active.might(plural, subresource, operation) for active in self.active)
