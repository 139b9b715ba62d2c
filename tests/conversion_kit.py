"""A kind in three versions and the webhook that converts between them, for tests.

``v1beta1`` has ``hostPort`` ("host:port"), ``v1`` and ``v2`` have ``host`` and ``port``; v2 also
says in an annotation what it was made of, as real webhooks do with what a version lacks.
"""

from __future__ import annotations

from typing import Any

from tests.webhook_kit import Call, WebhookServer

GROUP = "net.example.com"
PLURAL = "backends"
CRD = f"{PLURAL}.{GROUP}"
OLD = {"type": "object", "properties": {"hostPort": {"type": "string"}}}
NEW = {
    "type": "object",
    "properties": {
        "host": {"type": "string"},
        "port": {"type": "string"},
        "weight": {"type": "integer", "default": 1},
    },
}
STATUS = {
    "type": "object",
    "properties": {
        "replicas": {"type": "integer"},
        "selector": {"type": "string"},
        "ready": {"type": "boolean"},
    },
}
SCALE = {
    "specReplicasPath": ".spec.replicas",
    "statusReplicasPath": ".status.replicas",
    "labelSelectorPath": ".status.selector",
}


def version(name: str, *, storage: bool, **more: Any) -> dict[str, Any]:
    spec = OLD if name == "v1beta1" else NEW
    replicas = "count" if name == "v1beta1" else "replicas"
    spec = {**spec, "properties": {**spec["properties"], replicas: {"type": "integer"}}}
    scale = {**SCALE, "specReplicasPath": f".spec.{replicas}"}
    shown = "hostPort" if name == "v1beta1" else "host"
    return {
        "name": name,
        "served": True,
        "storage": storage,
        "schema": {
            "openAPIV3Schema": {"type": "object", "properties": {"spec": spec, "status": STATUS}}
        },
        "subresources": {"status": {}, "scale": scale},
        "additionalPrinterColumns": [
            {"name": shown, "type": "string", "jsonPath": f".spec.{shown}"}
        ],
        "selectableFields": [{"jsonPath": f".spec.{shown}"}],
        **more,
    }


def definition(client_config: dict[str, Any], *names: str, stored: str) -> dict[str, Any]:
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": CRD},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {"plural": PLURAL, "kind": "Backend"},
            "versions": [version(name, storage=name == stored) for name in names],
            "conversion": {
                "strategy": "Webhook",
                "webhook": {
                    "clientConfig": client_config,
                    "conversionReviewVersions": ["v7", "v1", "v1beta1"],
                },
            },
        },
    }


def backend(name: str, version: str, place: str = "", **more: Any) -> dict[str, Any]:
    host, _, port = place.partition(":")
    spec = {"hostPort": place} if version == "v1beta1" else {"host": host, "port": port}
    return {
        "apiVersion": f"{GROUP}/{version}",
        "kind": "Backend",
        "metadata": {"name": name, **more.pop("metadata", {})},
        "spec": {**(spec if place else {}), **more.pop("spec", {})},
        **more,
    }


def path(version: str, name: str = "", namespace: str = "default") -> str:
    base = f"/apis/{GROUP}/{version}/namespaces/{namespace}/{PLURAL}"
    return f"{base}/{name}" if name else base


def convert(tree: dict[str, Any], target: str) -> dict[str, Any]:
    """One object in the apiVersion ``target``, in place."""
    spec = tree.setdefault("spec", {})
    was_old, is_old = tree["apiVersion"].endswith("/v1beta1"), target.endswith("/v1beta1")
    if was_old and not is_old:
        if "hostPort" in spec:
            spec["host"], _, spec["port"] = spec.pop("hostPort").partition(":")
        if "count" in spec:
            spec["replicas"] = spec.pop("count")
        if weight := (tree["metadata"].get("annotations") or {}).pop("weight", None):
            spec["weight"] = int(weight)
    elif is_old and not was_old:
        if "host" in spec:
            spec["hostPort"] = f"{spec.pop('host')}:{spec.pop('port', '')}"
        if "replicas" in spec:
            spec["count"] = spec.pop("replicas")
        if "weight" in spec:
            tree["metadata"].setdefault("annotations", {})["weight"] = str(spec.pop("weight"))
        tree["metadata"].setdefault("labels", {})["seen-as"] = "old"
    if not is_old and (labels := tree["metadata"].get("labels")):
        labels.pop("seen-as", None)
    tree["apiVersion"] = target
    return tree


def converted(tree: dict[str, Any], target: str) -> dict[str, Any]:
    """As ``convert``; what it does not understand only gets the other version's name."""
    try:
        return convert(tree, target)
    except (AttributeError, TypeError, ValueError):
        return {**tree, "apiVersion": target}


class Converter:
    """The webhook's answers; ``change`` may spoil a whole answer before it is sent."""

    def __init__(self) -> None:
        self.change: Any = None
        self.webhook = WebhookServer(self._answer, names=("hook.default.svc", "localhost"))

    @property
    def reviews(self) -> list[dict[str, Any]]:
        return [call.body for call in self.webhook.calls]

    def asked(self) -> int:
        """How many objects were converted so far."""
        return sum(len(review["request"]["objects"]) for review in self.reviews)

    def _answer(self, call: Call) -> Any:
        request = call.body["request"]
        target = request["desiredAPIVersion"]
        review = {
            "apiVersion": call.body["apiVersion"],
            "kind": "ConversionReview",
            "response": {
                "uid": request["uid"],
                "result": {"status": "Success"},
                "convertedObjects": [converted(tree, target) for tree in request["objects"]],
            },
        }
        return self.change(review) if self.change is not None else review
