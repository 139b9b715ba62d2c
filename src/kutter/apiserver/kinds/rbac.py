"""Roles and their bindings."""

from __future__ import annotations

from typing import ClassVar

from kutter.api.errors import FieldError, invalid, not_supported, required
from kutter.api.schema.loader import type_node
from kutter.api.schema.wire import render
from kutter.apiserver.kinds.standard import Standard
from kutter.apiserver.ports import Tree
from kutter.apiserver.validation import text
from kutter.apiserver.validation.equality import equal
from kutter.apiserver.validation.metadata import checked, validate_label_selector

Errors = list[FieldError]

GROUP = "rbac.authorization.k8s.io"


class RoleKind(Standard):
    """Role and ClusterRole."""

    has_status: ClassVar[bool] = False
    allow_create_on_update: ClassVar[bool] = True
    rechecks_metadata: ClassVar[bool] = True
    name_check: ClassVar[text.Check] = text.path_segment

    def check(self, tree: Tree) -> list[FieldError]:
        errors: Errors = []
        for i, rule in enumerate(tree.get("rules") or ()):
            self._rule(errors, rule, f"rules[{i}]")
        aggregation = tree.get("aggregationRule")
        if aggregation is not None:
            selectors = aggregation.get("clusterRoleSelectors") or []
            path = "aggregationRule.clusterRoleSelectors"
            if not selectors:
                detail = "at least one clusterRoleSelector required if aggregationRule is non-nil"
                errors.append(required(path, detail))
            for i, selector in enumerate(selectors):
                wrong = validate_label_selector(selector, f"{path}[{i}]")
                errors += wrong
                if wrong:
                    errors.append(invalid(f"{path}[{i}]", None, "invalid label selector."))
        return errors

    def _rule(self, errors: Errors, rule: Tree, path: str) -> None:
        if not rule.get("verbs"):
            errors.append(required(f"{path}.verbs", "verbs must contain at least one value"))
        if rule.get("nonResourceURLs"):
            if self.resource.namespaced:
                detail = "namespaced rules cannot apply to non-resource URLs"
                errors.append(invalid(f"{path}.nonResourceURLs", rule["nonResourceURLs"], detail))
            if rule.get("apiGroups") or rule.get("resources") or rule.get("resourceNames"):
                detail = "rules cannot apply to both regular resources and non-resource URLs"
                errors.append(invalid(f"{path}.nonResourceURLs", rule["nonResourceURLs"], detail))
            return
        if not rule.get("apiGroups"):
            detail = "resource rules must supply at least one api group"
            errors.append(required(f"{path}.apiGroups", detail))
        if not rule.get("resources"):
            detail = "resource rules must supply at least one resource"
            errors.append(required(f"{path}.resources", detail))


class BindingKind(Standard):
    """RoleBinding and ClusterRoleBinding."""

    has_status: ClassVar[bool] = False
    allow_create_on_update: ClassVar[bool] = True
    rechecks_metadata: ClassVar[bool] = True
    change_last: ClassVar[bool] = True
    name_check: ClassVar[text.Check] = text.path_segment

    def default(self, tree: Tree) -> None:
        reference = tree.get("roleRef")
        if reference is not None and not reference.get("apiGroup"):
            reference["apiGroup"] = GROUP
        for subject in tree.get("subjects") or ():
            if subject.get("kind") in ("User", "Group"):
                if not subject.get("apiGroup"):
                    subject["apiGroup"] = GROUP
            elif subject.get("kind") == "ServiceAccount" and subject.get("apiGroup") == "":
                del subject["apiGroup"]

    def check(self, tree: Tree) -> list[FieldError]:
        errors: Errors = []
        reference = tree.get("roleRef") or {}
        group, kind, name = (reference.get(f) or "" for f in ("apiGroup", "kind", "name"))
        if group != GROUP:
            errors.append(not_supported("roleRef.apiGroup", group, [GROUP]))
        kinds = ["Role", "ClusterRole"] if self.resource.namespaced else ["ClusterRole"]
        if kind not in kinds:
            errors.append(not_supported("roleRef.kind", kind, kinds))
        if not name:
            errors.append(required("roleRef.name"))
        else:
            errors += checked("roleRef.name", name, text.path_segment)
        for i, subject in enumerate(tree.get("subjects") or ()):
            self._subject(errors, subject, f"subjects[{i}]")
        return errors

    def _subject(self, errors: Errors, subject: Tree, path: str) -> None:
        name, group = subject.get("name") or "", subject.get("apiGroup") or ""
        if not name:
            errors.append(required(f"{path}.name"))
        match subject.get("kind"):
            case "ServiceAccount":
                if name:
                    errors += checked(f"{path}.name", name, text.dns_subdomain)
                if group:
                    errors.append(not_supported(f"{path}.apiGroup", group, [""]))
                # In a RoleBinding it is the binding's own namespace unless said otherwise.
                if not subject.get("namespace") and not self.resource.namespaced:
                    errors.append(required(f"{path}.namespace"))
            case "User" | "Group":
                if group != GROUP:
                    errors.append(not_supported(f"{path}.apiGroup", group, [GROUP]))
            case kind:
                errors.append(
                    not_supported(f"{path}.kind", kind or "", ["ServiceAccount", "User", "Group"])
                )

    def check_change(self, new: Tree, old: Tree) -> list[FieldError]:
        if equal(new.get("roleRef"), old.get("roleRef")):
            return []
        shown = render(new.get("roleRef") or {}, type_node(f"{GROUP}/v1", "RoleRef"), internal=True)
        return [invalid("roleRef", shown, "cannot change roleRef")]
