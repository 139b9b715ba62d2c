"""The RBAC authorizer: roles and bindings, indexed by subject, precompiled.

Between the read cache's changes of Role, RoleBinding, ClusterRole and ClusterRoleBinding and
every request. Laws:

* A decision costs O(bindings of the caller) once, then one dictionary look-up until any role or
  binding changes; both caches are bounded and emptied whole.
* A change seen by the read cache counts from the next decision on.
* Aggregated ClusterRoles are resolved here, without waiting for the controller that writes the
  result into them.

https://kubernetes.io/docs/reference/access-authn-authz/rbac/
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from kutter.apiserver.authn.identity import User
from kutter.apiserver.authz.aggregation import selectors_of, selects
from kutter.apiserver.authz.rules import CompiledRule, Rule, any_allows, compile_rules
from kutter.apiserver.ports import Attributes, Change, Decision, Reader, Tree

GROUP = "rbac.authorization.k8s.io"
ROLES = f"roles.{GROUP}"
CLUSTER_ROLES = f"clusterroles.{GROUP}"
ROLE_BINDINGS = f"rolebindings.{GROUP}"
CLUSTER_ROLE_BINDINGS = f"clusterrolebindings.{GROUP}"

_RULE_SETS_MAX = 2048
_DECISIONS_MAX = 1024  # of one rule set

Subject = tuple[str, str]  # ("User" | "Group", name)
RoleRef = tuple[str, str]  # (namespace or "" for a ClusterRole, name)


class RuleSet:
    """The rules one caller has in one namespace (or at the cluster scope), with its decisions."""

    __slots__ = ("_decisions", "_names", "missing", "rules")

    def __init__(self, rules: tuple[CompiledRule, ...], missing: tuple[RoleRef, ...]) -> None:
        self.rules = rules
        self.missing = missing
        # A name none of the rules has is as any other such.
        self._names = frozenset(name for rule in rules for name in rule.names)
        self._decisions: dict[tuple[str | None, ...], bool] = {}

    def allows(self, a: Attributes) -> bool:
        if a.is_resource:
            name = a.name if a.name in self._names else None
            key: tuple[str | None, ...] = (a.verb, a.group, a.resource, a.subresource, name)
        else:
            key = (a.verb, a.path)
        found = self._decisions.get(key)
        if found is None:
            found = any_allows(self.rules, a)
            if len(self._decisions) >= _DECISIONS_MAX:
                self._decisions.clear()
            self._decisions[key] = found
        return found


class RbacIndex:
    """Roles by reference and role references by subject."""

    def __init__(self) -> None:
        self._roles: dict[RoleRef, Tree] = {}
        self._compiled: dict[RoleRef, tuple[CompiledRule, ...]] = {}
        # Binding (namespace, name) → its subjects and role; "" as namespace: cluster-wide.
        self._bindings: dict[tuple[str, str], tuple[tuple[Subject, ...], RoleRef]] = {}
        # (namespace, subject) → names of bindings there.
        self._by_subject: dict[tuple[str, Subject], dict[str, RoleRef]] = {}
        self._rule_sets: dict[tuple[str, tuple[str, ...], str], RuleSet] = {}

    # -- feeding ------------------------------------------------------------------

    def follow(self, reader: Reader) -> None:
        """Load what ``reader`` holds and follow its changes."""
        for resource in (ROLES, CLUSTER_ROLES):
            reader.on_change(resource, self._roles_changed)
            for tree in reader.list(resource):
                self.set_role(tree)
        for resource in (ROLE_BINDINGS, CLUSTER_ROLE_BINDINGS):
            reader.on_change(resource, self._bindings_changed)
            for tree in reader.list(resource):
                self.set_binding(tree)

    def _roles_changed(self, changes: list[Change]) -> None:
        for change in changes:
            if change.type == "DELETED":
                self.remove_role(change.current.namespace, change.current.name)
            else:
                self.set_role(change.current.tree)

    def _bindings_changed(self, changes: list[Change]) -> None:
        for change in changes:
            if change.type == "DELETED":
                self.remove_binding(change.current.namespace, change.current.name)
            else:
                self.set_binding(change.current.tree)

    def set_role(self, tree: Tree) -> None:
        """A Role (with namespace) or ClusterRole is this now."""
        metadata = tree["metadata"]
        self._roles[metadata.get("namespace", ""), metadata["name"]] = tree
        self._forget()

    def remove_role(self, namespace: str, name: str) -> None:
        self._roles.pop((namespace, name), None)
        self._forget()

    def set_binding(self, tree: Tree) -> None:
        """A RoleBinding (with namespace) or ClusterRoleBinding is this now."""
        metadata = tree["metadata"]
        namespace, name = metadata.get("namespace", ""), metadata["name"]
        self.remove_binding(namespace, name)
        role = role_ref_of(tree.get("roleRef") or {}, namespace)
        subjects = tuple(_subjects_of(tree, namespace))
        self._bindings[namespace, name] = (subjects, role)
        for subject in subjects:
            self._by_subject.setdefault((namespace, subject), {})[name] = role

    def remove_binding(self, namespace: str, name: str) -> None:
        self._forget()
        old = self._bindings.pop((namespace, name), None)
        for subject in old[0] if old else ():
            names = self._by_subject.get((namespace, subject))
            if names is not None:
                names.pop(name, None)
                if not names:
                    del self._by_subject[namespace, subject]

    def _forget(self) -> None:
        self._compiled.clear()
        self._rule_sets.clear()

    # -- asking -------------------------------------------------------------------

    def rule_set(self, user: User, namespace: str) -> RuleSet:
        """What ``user`` may do in ``namespace`` (empty: at the cluster scope)."""
        key = (user.name, user.groups, namespace)
        found = self._rule_sets.get(key)
        if found is None:
            if len(self._rule_sets) >= _RULE_SETS_MAX:
                self._rule_sets.clear()
            found = self._rule_sets[key] = self._build(user, namespace)
        return found

    def rules_for(self, user: User, namespace: str) -> list[Rule]:
        """The same as rule trees, cluster-wide ones first."""
        return [rule for ref in self._refs(user, namespace) for rule in self.role_rules(ref) or ()]

    def role_rules(self, ref: RoleRef) -> list[Rule] | None:
        """The effective rules of a role, aggregation resolved; None when it does not exist."""
        role = self._roles.get(ref)
        return None if role is None else self._effective(role, frozenset())

    def explain(self, attributes: Attributes) -> str:
        """Which binding allows a request, as upstream's audit says it; empty when none does.

        Searches the caller's bindings one by one: for the audit, not for deciding.
        """
        user, namespace = attributes.user, attributes.namespace
        subjects: list[Subject] = [("User", user.name), *(("Group", g) for g in user.groups)]
        for scope in ("", namespace) if namespace else ("",):
            for subject in subjects:
                for name, ref in self._by_subject.get((scope, subject), {}).items():
                    rules = self._compiled.get(ref)
                    if rules is None:
                        rules = compile_rules(self.role_rules(ref) or [])
                    if any_allows(rules, attributes):
                        return f"RBAC: allowed by {_describe(scope, name, ref, subject)}"
        return ""

    def _build(self, user: User, namespace: str) -> RuleSet:
        rules: list[CompiledRule] = []
        missing: list[RoleRef] = []
        for ref in self._refs(user, namespace):
            compiled = self._compiled.get(ref)
            if compiled is None:
                trees = self.role_rules(ref)
                if trees is None:
                    missing.append(ref)
                    continue
                compiled = self._compiled[ref] = compile_rules(trees)
            rules += compiled
        return RuleSet(tuple(rules), tuple(missing))

    def _refs(self, user: User, namespace: str) -> Iterator[RoleRef]:
        subjects: list[Subject] = [("User", user.name), *(("Group", g) for g in user.groups)]
        seen: set[RoleRef] = set()
        for scope in ("", namespace) if namespace else ("",):
            for subject in subjects:
                for ref in self._by_subject.get((scope, subject), {}).values():
                    if ref not in seen:
                        seen.add(ref)
                        yield ref

    def _effective(self, role: Tree, visiting: frozenset[str]) -> list[Rule]:
        selectors = selectors_of(role)
        if selectors is None:
            return role.get("rules") or []
        name = role["metadata"]["name"]
        visiting = visiting | {name}
        return [
            rule
            for (namespace, other_name), other in sorted(self._roles.items(), key=lambda i: i[0])
            if namespace == "" and other_name not in visiting
            if any(selects(s, other["metadata"].get("labels") or {}) for s in selectors)
            for rule in self._effective(other, visiting)
        ]


def _describe(scope: str, name: str, ref: RoleRef, subject: Subject) -> str:
    kind, who = subject
    account = who.removeprefix("system:serviceaccount:")
    if kind == "User" and account != who:
        home, _, own = account.partition(":")
        kind, who = "ServiceAccount", f"{own}/{home}"
    binding = f'RoleBinding "{name}/{scope}"' if scope else f'ClusterRoleBinding "{name}"'
    role = "Role" if ref[0] else "ClusterRole"
    return f'{binding} of {role} "{ref[1]}" to {kind} "{who}"'


def _subjects_of(binding: Tree, namespace: str) -> Iterator[Subject]:
    for subject in binding.get("subjects") or ():
        kind, name = subject.get("kind"), subject.get("name", "")
        if kind == "ServiceAccount":
            home = subject.get("namespace") or namespace
            if home:
                yield ("User", f"system:serviceaccount:{home}:{name}")
        elif kind in ("User", "Group"):
            yield (kind, name)


class RbacAuthorizer:
    """Allows what the caller's roles allow."""

    def __init__(self, index: RbacIndex) -> None:
        self.index = index

    async def authorize(self, attributes: Attributes) -> Decision:
        return self.decide(attributes)

    def decide(self, attributes: Attributes) -> Decision:
        """As ``authorize``, without waiting."""
        rules = self.index.rule_set(attributes.user, attributes.namespace)
        if rules.allows(attributes):
            return ALLOWED_BY_RBAC
        if not rules.missing:
            return _DENIED
        return Decision(False, f"RBAC: {describe_missing(rules.missing)}")


# One object, so that a review knows whom to ask for the reason.
ALLOWED_BY_RBAC = Decision(True)
_DENIED = Decision(False)


def describe_missing(refs: Iterable[RoleRef]) -> str:
    """How upstream names roles that bindings point at and that do not exist."""
    texts = [
        f'{"role" if namespace else "clusterrole"}.{GROUP} "{name}" not found'
        for namespace, name in dict.fromkeys(refs)
    ]
    return texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]"


def role_ref_of(ref: dict[str, Any], namespace: str) -> RoleRef:
    """The index's reference for a binding's ``roleRef``."""
    return (namespace if ref.get("kind") == "Role" else "", str(ref.get("name", "")))
