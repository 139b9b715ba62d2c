"""Reader views of rbac.authorization.k8s.io/v1. Laws: :mod:`kutter.api.types.base`."""

from __future__ import annotations

from typing import ClassVar

from kutter.api.catalog import builtin
from kutter.api.resources import Resource
from kutter.api.types.base import View
from kutter.api.types.meta_v1 import KubeObject, LabelSelector, ObjectMeta


class PolicyRule(View):
    api_groups: tuple[str, ...] = ()
    non_resource_urls: tuple[str, ...] = ()
    resource_names: tuple[str, ...] = ()
    resources: tuple[str, ...] = ()
    verbs: tuple[str, ...] = ()


class Role(KubeObject):
    resource: ClassVar[Resource] = builtin("rbac.authorization.k8s.io", "v1", "roles")

    api_version: str = ""
    kind: str = ""
    metadata: ObjectMeta = ObjectMeta()
    rules: tuple[PolicyRule, ...] = ()


class RoleRef(View):
    api_group: str = ""
    kind: str = ""
    name: str = ""


class Subject(View):
    api_group: str = ""
    kind: str = ""
    name: str = ""
    namespace: str = ""


class RoleBinding(KubeObject):
    resource: ClassVar[Resource] = builtin("rbac.authorization.k8s.io", "v1", "rolebindings")

    api_version: str = ""
    kind: str = ""
    metadata: ObjectMeta = ObjectMeta()
    role_ref: RoleRef = RoleRef()
    subjects: tuple[Subject, ...] = ()


class AggregationRule(View):
    cluster_role_selectors: tuple[LabelSelector, ...] = ()


class ClusterRole(KubeObject):
    resource: ClassVar[Resource] = builtin("rbac.authorization.k8s.io", "v1", "clusterroles")

    aggregation_rule: AggregationRule | None = None
    api_version: str = ""
    kind: str = ""
    metadata: ObjectMeta = ObjectMeta()
    rules: tuple[PolicyRule, ...] = ()


class ClusterRoleBinding(KubeObject):
    resource: ClassVar[Resource] = builtin("rbac.authorization.k8s.io", "v1", "clusterrolebindings")

    api_version: str = ""
    kind: str = ""
    metadata: ObjectMeta = ObjectMeta()
    role_ref: RoleRef = RoleRef()
    subjects: tuple[Subject, ...] = ()
