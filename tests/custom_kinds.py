"""Definitions of custom kinds for tests, and a server that serves what is defined."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from tests.apiserver_harness import Api, start_server

from kutter.apiserver.printing.registry import printer_for
from kutter.base.tasks import Scope

CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
CRONTABS = "/apis/stable.example.com/v1/namespaces/default/crontabs"

SPEC: dict[str, Any] = {
    "type": "object",
    "required": ["cronSpec"],
    "properties": {
        "cronSpec": {"type": "string", "pattern": r"^(\d+|\*)(/\d+)?(\s+(\d+|\*)(/\d+)?){4}$"},
        "image": {"type": "string", "default": "busybox", "maxLength": 40},
        "replicas": {"type": "integer", "minimum": 1, "maximum": 10, "default": 1},
        "color": {"type": "string", "enum": ["red", "blue"]},
        "port": {"x-kubernetes-int-or-string": True},
        "tags": {"type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "set"},
        "ports": {
            "type": "array",
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["name"],
            "items": {
                "type": "object",
                "required": ["name"],
                "properties": {
                    "name": {"type": "string"},
                    "number": {"type": "integer", "maximum": 65535},
                    "protocol": {"type": "string", "default": "TCP"},
                },
            },
        },
        "extra": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
        "labels": {"type": "object", "additionalProperties": {"type": "string"}},
        "since": {"type": "string", "format": "date-time", "nullable": True},
    },
}
STATUS: dict[str, Any] = {
    "type": "object",
    "properties": {
        "replicas": {"type": "integer"},
        "selector": {"type": "string"},
        "phase": {"type": "string"},
    },
}


def version(name: str = "v1", **more: Any) -> dict[str, Any]:
    return {
        "name": name,
        "served": True,
        "storage": True,
        "schema": {
            "openAPIV3Schema": {
                "type": "object",
                "properties": {
                    "spec": more.pop("spec", SPEC),
                    "status": more.pop("status", STATUS),
                },
            }
        },
        **more,
    }


FULL = {
    "subresources": {
        "status": {},
        "scale": {
            "specReplicasPath": ".spec.replicas",
            "statusReplicasPath": ".status.replicas",
            "labelSelectorPath": ".status.selector",
        },
    },
    "additionalPrinterColumns": [
        {"name": "Spec", "type": "string", "jsonPath": ".spec.cronSpec"},
        {"name": "Replicas", "type": "integer", "jsonPath": ".spec.replicas"},
        {"name": "Image", "type": "string", "jsonPath": ".spec.image", "priority": 1},
        {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
    ],
    "selectableFields": [{"jsonPath": ".spec.color"}],
}


def definition(
    plural: str = "crontabs",
    kind: str = "CronTab",
    *,
    versions: list[dict[str, Any]] | None = None,
    group: str = "stable.example.com",
    names: dict[str, Any] | None = None,
    **spec: Any,
) -> dict[str, Any]:
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}"},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {"plural": plural, "kind": kind, **(names or {})},
            "versions": versions if versions is not None else [version(**FULL)],
            **spec,
        },
    }


def crontab(name: str = "a", api: str = "v1", **more: Any) -> dict[str, Any]:
    spec = {"cronSpec": "* * * * */5", **more.pop("spec", {})}
    return {
        "apiVersion": f"stable.example.com/{api}",
        "kind": "CronTab",
        "metadata": {"name": name, **more.pop("metadata", {})},
        "spec": spec,
        **more,
    }


@asynccontextmanager
async def serving(store: Any = None) -> AsyncIterator[Api]:
    """A server that follows its definitions."""
    server = await start_server(store, printer_for=printer_for)
    async with Scope("definitions") as scope:
        scope.start(server.definitions.run(), "definitions")
        yield Api(server)
        await server.stop()


async def condition(api: Api, name: str, type: str = "Established") -> dict[str, Any]:
    """Wait until a definition has a condition that is no more pending; answer it."""
    watching = await api.watch(CRDS, fieldSelector=f"metadata.name={name}")
    async with asyncio.timeout(30):
        while True:
            event = await watching.next()
            for found in (event["object"].get("status") or {}).get("conditions") or ():
                if found["type"] == type:
                    await watching.close()
                    return found


async def define(api: Api, tree: dict[str, Any]) -> dict[str, Any]:
    """Create a definition and wait until it is established; answer it as it is then."""
    name = tree["metadata"]["name"]
    await api.ok("POST", CRDS, tree)
    assert (await condition(api, name))["status"] == "True"
    return await api.ok("GET", f"{CRDS}/{name}")


async def gone(api: Api, name: str) -> None:
    """Wait until a definition is deleted."""
    watching = await api.watch(CRDS, fieldSelector=f"metadata.name={name}")
    async with asyncio.timeout(30):
        while True:
            response = await api.call("GET", f"{CRDS}/{name}")
            if response.status == 404:
                await watching.close()
                return
            await watching.next()
