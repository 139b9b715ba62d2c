"""Two operators for one kind, as people write them: with kopf, and with watch and patch alone.

Both see to it that each ``Backend`` (:mod:`tests.conversion_kit`) has a config map with its host,
say so in its status, and clean up before it goes. They know version v1 only.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from typing import Any, Self

from tests.conversion_kit import GROUP, PLURAL

from kutter.testing.cluster import LocalCluster

PLACE = (GROUP, "v1", "default", PLURAL)
STOP_S = 40.0


def eventually(check: Callable[[], Any], timeout_s: float = 40.0) -> Any:
    end = time.monotonic() + timeout_s
    while not (found := check()):
        assert time.monotonic() < end, f"did not come true: {check.__qualname__}"
        time.sleep(0.02)
    return found


class _Operator:
    """A thread with an operator in it; ``deleted`` has the names it cleaned up after."""

    finalizer = ""

    def __init__(self, cluster: LocalCluster) -> None:
        from kubernetes import client

        self.cluster = cluster
        self.deleted: list[str] = []
        self.stop = threading.Event()
        self.ready = threading.Event()
        api = cluster.kubernetes_client()
        self.core, self.custom = client.CoreV1Api(api), client.CustomObjectsApi(api)
        self._thread = threading.Thread(target=self.work, name=type(self).__name__)

    def work(self) -> None:
        raise NotImplementedError

    def __enter__(self) -> Self:
        self._thread.start()
        assert self.ready.wait(STOP_S), "the operator does not start"
        return self

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        self._thread.join(STOP_S)
        assert not self._thread.is_alive(), "the operator does not stop"


class KopfOperator(_Operator):
    finalizer = "kopf.zalando.org/KopfFinalizerMarker"

    def __init__(self, cluster: LocalCluster) -> None:
        import kopf

        super().__init__(cluster)
        self.registry = kopf.OperatorRegistry()
        registry, core, deleted = self.registry, self.core, self.deleted
        connection = kopf.ConnectionInfo(
            server=cluster.url,
            ca_path=str(cluster._certificates.ca_file),
            certificate_path=str(cluster._certificates.pair("admin").certificate),
            private_key_path=str(cluster._certificates.pair("admin").key),
        )

        @kopf.on.login(registry=registry)
        def login(**_: Any) -> Any:
            return connection

        @kopf.on.create(GROUP, "v1", PLURAL, registry=registry)
        def create(spec: Any, name: str, namespace: str, patch: Any, **_: Any) -> None:
            body: dict[str, Any] = {"metadata": {"name": name}, "data": {"host": spec["host"]}}
            kopf.adopt(body)
            core.create_namespaced_config_map(namespace, body)
            patch.status["ready"] = True

        @kopf.on.update(GROUP, "v1", PLURAL, field="spec.host", registry=registry)
        def update(spec: Any, name: str, namespace: str, **_: Any) -> None:
            core.patch_namespaced_config_map(name, namespace, {"data": {"host": spec["host"]}})

        @kopf.on.delete(GROUP, "v1", PLURAL, registry=registry)
        def delete(name: str, **_: Any) -> None:
            deleted.append(name)

    def work(self) -> None:
        import kopf

        asyncio.run(
            kopf.operator(
                registry=self.registry,
                namespaces=["default"],
                standalone=True,
                stop_flag=self.stop,
                ready_flag=self.ready,
                settings=kopf.OperatorSettings(),
            )
        )


class PlainOperator(_Operator):
    """Nothing but the official client: list, watch, patch."""

    finalizer = "plain.example.com/clean-up"

    def work(self) -> None:
        from kubernetes import client, watch

        self.ready.set()
        while not self.stop.is_set():
            try:
                listed = self.custom.list_namespaced_custom_object(*PLACE)
                for tree in listed["items"]:
                    self.reconcile(tree)
                events = watch.Watch().stream(
                    self.custom.list_namespaced_custom_object,
                    *PLACE,
                    resource_version=listed["metadata"]["resourceVersion"],
                    timeout_seconds=2,
                )
                for event in events:
                    if event["type"] != "DELETED":
                        self.reconcile(event["object"])
                    if self.stop.is_set():
                        break
            except client.ApiException as error:
                # Conflicts, objects gone in between, a definition that is changing: look again.
                if error.status not in (404, 409, 410, 422):
                    raise

    def reconcile(self, tree: dict[str, Any]) -> None:
        metadata = tree["metadata"]
        name, finalizers = metadata["name"], metadata.get("finalizers") or []
        if metadata.get("deletionTimestamp"):
            if self.finalizer in finalizers:
                self.deleted.append(name)
                left = [f for f in finalizers if f != self.finalizer]
                change = {
                    "metadata": {
                        "finalizers": left or None,
                        "resourceVersion": metadata["resourceVersion"],
                    }
                }
                self.custom.patch_namespaced_custom_object(*PLACE, name, change)
            return
        if self.finalizer not in finalizers:
            change = {"metadata": {"finalizers": [*finalizers, self.finalizer]}}
            self.custom.patch_namespaced_custom_object(*PLACE, name, change)
        self.write_map(tree)
        if not (tree.get("status") or {}).get("ready"):
            status = {"status": {"ready": True}}
            self.custom.patch_namespaced_custom_object_status(*PLACE, name, status)

    def write_map(self, tree: dict[str, Any]) -> None:
        from kubernetes import client

        name, data = tree["metadata"]["name"], {"host": tree["spec"]["host"]}
        try:
            self.core.patch_namespaced_config_map(name, "default", {"data": data})
        except client.ApiException as error:
            if error.status != 404:
                raise
            owner = {
                "apiVersion": tree["apiVersion"],
                "kind": tree["kind"],
                "name": name,
                "uid": tree["metadata"]["uid"],
            }
            metadata = {"name": name, "ownerReferences": [owner]}
            self.core.create_namespaced_config_map("default", {"metadata": metadata, "data": data})
