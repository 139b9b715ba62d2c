"""What expressions of webhooks and policies may name: variables, their types, environments.

Upstream: ``apiserver/pkg/admission/plugin/cel``. ``object``, ``oldObject`` and ``params`` are dyn
here; type checking (:mod:`kutter.apiserver.admission.dynamic.type_checking`) knows them better.
"""

from __future__ import annotations

from functools import lru_cache

from kutter.api.cel.environment import Environment
from kutter.api.cel.kubernetes import environment, mutation_environment
from kutter.api.cel.library.authorizer import AUTHORIZER, RESOURCE_CHECK
from kutter.api.cel.names import escape
from kutter.api.cel.objects import type_of_node
from kutter.api.cel.types import BOOL, DYN, STRING, Field, Type, list_of, map_of, object_type
from kutter.api.schema import schema_for

Fields = dict[str, Field]
_TEXTS = list_of(STRING)


def _fields(**types: Type) -> Fields:
    return {name: Field(name, type) for name, type in types.items()}


_KIND = object_type(
    "kubernetes.GroupVersionKind", _fields(group=STRING, version=STRING, kind=STRING)
)
_RESOURCE = object_type(
    "kubernetes.GroupVersionResource", _fields(group=STRING, version=STRING, resource=STRING)
)
_USER = object_type(
    "kubernetes.UserInfo",
    _fields(username=STRING, uid=STRING, groups=_TEXTS, extra=map_of(STRING, _TEXTS)),
)
REQUEST = object_type(
    "kubernetes.AdmissionRequest",
    _fields(
        kind=_KIND,
        resource=_RESOURCE,
        subResource=STRING,
        requestKind=_KIND,
        requestResource=_RESOURCE,
        requestSubResource=STRING,
        name=STRING,
        namespace=STRING,
        operation=STRING,
        userInfo=_USER,
        dryRun=BOOL,
        options=DYN,
    ),
)
_METADATA = (
    "name",
    "generateName",
    "namespace",
    "labels",
    "annotations",
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "generation",
    "resourceVersion",
    "finalizers",
)


@lru_cache(1)
def namespace_type() -> Type:
    """A namespace, without the parts of its metadata that upstream leaves out."""
    schema = schema_for("", "v1", "Namespace")
    assert schema is not None, "namespaces are built in"
    whole = type_of_node(schema.node).fields or {}
    below = whole["metadata"].type.fields or {}
    shown = {name: below[escape(name) or name] for name in _METADATA}
    # Upstream spells it so here, and only here.
    shown["UID"] = below["uid"]
    metadata = object_type("kubernetes.NamespaceMetadata", shown)
    metadata.wrap = whole["metadata"].type.wrap
    fields = {"metadata": Field("metadata", metadata)}
    fields |= {name: whole[name] for name in ("spec", "status")}
    return object_type("kubernetes.Namespace", fields)


@lru_cache(16)
def environment_for(*, params: bool, authorizer: bool, patches: bool) -> Environment:
    """The environment of one sort of expression, without ``variables``."""
    variables: dict[str, Type] = {
        "object": DYN,
        "oldObject": DYN,
        "namespaceObject": namespace_type(),
        "request": REQUEST,
    }
    if params:
        variables["params"] = DYN
    if authorizer:
        variables |= {"authorizer": AUTHORIZER, "authorizer.requestResource": RESOURCE_CHECK}
    return mutation_environment(variables) if patches else environment(variables)
