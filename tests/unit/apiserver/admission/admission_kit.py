"""Requests for admission, as the pipeline makes them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from tests.unit.apiserver.fake_reader import FakeReader

from kutter.api.errors import ApiError
from kutter.api.resources import Resource
from kutter.apiserver.admission.chain import AdmissionChain
from kutter.apiserver.admission.plugin import Plugin
from kutter.apiserver.authn.identity import User
from kutter.apiserver.ports import AdmissionRequest

ANN = User("ann", groups=("system:authenticated",))
NODE = User("system:node:n1", groups=("system:nodes", "system:authenticated"))


def resource(group_resource: str, *, namespaced: bool = True) -> Resource:
    plural, _, group = group_resource.partition(".")
    return Resource(group, "v1", plural, plural.title(), namespaced, ("create",))


def request(
    what: str,
    tree: dict[str, Any] | None,
    reader: FakeReader,
    *,
    operation: Any = "CREATE",
    old: dict[str, Any] | None = None,
    user: User = ANN,
    namespace: str = "blue",
    name: str | None = None,
) -> AdmissionRequest:
    full, _, subresource = what.partition("/")
    source = tree or old or {}
    return AdmissionRequest(
        operation=operation,
        resource=resource(full, namespaced=bool(namespace)),
        subresource=subresource,
        namespace=namespace,
        name=source.get("metadata", {}).get("name", "") if name is None else name,
        object=tree,
        old=old,
        user=user,
        reader=reader,
        now=datetime(2026, 1, 1, tzinfo=UTC),
    )


async def admit(plugin: Plugin, asked: AdmissionRequest) -> dict[str, Any]:
    """Run both steps through a chain of one plugin; the object as it would be stored."""
    chain = AdmissionChain([plugin])
    await chain.mutate(asked)
    await chain.validate(asked)
    return asked.object or {}


async def refused(plugin: Plugin, asked: AdmissionRequest) -> ApiError:
    """The error the plugin refuses with."""
    try:
        await admit(plugin, asked)
    except ApiError as error:
        return error
    raise AssertionError("the request was admitted")


def pod(name: str = "p", **spec: Any) -> dict[str, Any]:
    return {
        "kind": "Pod",
        "apiVersion": "v1",
        "metadata": {"name": name, "namespace": "blue"},
        "spec": {"containers": [{"name": "c", "image": "i"}], **spec},
    }
