"""Views of nothing but metadata, for whoever follows kinds it knows nothing else of."""

from __future__ import annotations

import types
from functools import cache
from typing import cast

from kutter.api.catalog import BUILTIN
from kutter.api.resources import Resource
from kutter.api.types.meta_v1 import KubeObject

_BUILTIN = {(r.group, r.version, r.plural): r for r in BUILTIN}


def metadata_view(resource: Resource) -> type[KubeObject]:
    """A view of the metadata of one resource.

    Of a built-in one always the same, so that informers of it are shared; of a custom one a new
    one each time, because its informer ends with whoever opened it.
    """
    if is_builtin(resource):
        return _builtin_view(resource.group, resource.version, resource.plural)
    return _make(resource)


def is_builtin(resource: Resource) -> bool:
    """Whether it is part of Kubernetes itself, and so served under that name for good."""
    return (resource.group, resource.version, resource.plural) in _BUILTIN


@cache
def _builtin_view(group: str, version: str, plural: str) -> type[KubeObject]:
    return _make(_BUILTIN[group, version, plural])


def _make(resource: Resource) -> type[KubeObject]:
    body = {"resource": resource, "__module__": __name__}
    made = types.new_class(
        f"{resource.kind}Metadata",
        (KubeObject,),
        {"frozen": True, "kw_only": True},
        lambda namespace: namespace.update(body),
    )
    return cast("type[KubeObject]", made)
