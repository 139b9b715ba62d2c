from __future__ import annotations

import pytest
from tests.unit.apiserver.admission.admission_kit import admit, pod, refused, request
from tests.unit.apiserver.fake_reader import FakeReader

from kutter.apiserver.admission.namespace_lifecycle import NamespaceLifecycle


def namespaces() -> FakeReader:
    reader = FakeReader()
    reader.put("namespaces", {"metadata": {"name": "blue"}, "status": {"phase": "Active"}})
    reader.put("namespaces", {"metadata": {"name": "old"}, "status": {"phase": "Terminating"}})
    return reader


async def test_create_needs_a_living_namespace() -> None:
    reader, plugin = namespaces(), NamespaceLifecycle()
    await admit(plugin, request("pods", pod(), reader))
    error = await refused(plugin, request("pods", pod(), reader, namespace="none"))
    assert (error.code, error.message) == (404, 'namespaces "none" not found')
    error = await refused(plugin, request("pods", pod(), reader, namespace="old"))
    assert (error.code, error.reason) == (403, "Forbidden")
    assert error.message == (
        'pods "p" is forbidden: unable to create new content in namespace old because it is '
        "being terminated"
    )
    assert error.details is not None
    assert error.details["causes"] == [
        {
            "reason": "NamespaceTerminating",
            "message": "namespace old is being terminated",
            "field": "metadata.namespace",
        }
    ]


async def test_updates_and_deletions_go_on_in_a_terminating_namespace() -> None:
    reader, plugin = namespaces(), NamespaceLifecycle()
    await admit(
        plugin,
        request("pods", pod(), reader, namespace="old", operation="UPDATE", old=pod()),
    )
    await admit(
        plugin, request("pods", None, reader, namespace="gone", operation="DELETE", old=pod())
    )


@pytest.mark.parametrize("name", ["default", "kube-system", "kube-public"])
async def test_some_namespaces_stay(name: str) -> None:
    asked = request("namespaces", None, namespaces(), operation="DELETE", namespace="", name=name)
    error = await refused(NamespaceLifecycle(), asked)
    assert error.message == f'namespaces "{name}" is forbidden: this namespace may not be deleted'


async def test_other_namespaces_go() -> None:
    asked = request("namespaces", None, namespaces(), operation="DELETE", namespace="", name="blue")
    await admit(NamespaceLifecycle(), asked)
