"""An operator written with kopf: finalizers, status, create, update and delete of its kind.

kopf runs in a thread of its own against a cluster over TLS, as any operator would.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tests.custom_kinds import crontab, definition, version

from kutter.testing.cluster import LocalCluster

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]

PLACE = ("stable.example.com", "v1", "default", "crontabs")
FINALIZER = "kopf.zalando.org/KopfFinalizerMarker"


def eventually(check: Callable[[], Any], timeout_s: float = 30.0) -> Any:
    end = time.monotonic() + timeout_s
    while not (found := check()):
        assert time.monotonic() < end, "did not come true"
        time.sleep(0.02)
    return found


class Operator:
    """Writes what it sees into status and into a config map it owns."""

    def __init__(self, cluster: LocalCluster) -> None:
        import kopf
        from kubernetes import client

        self.deleted: list[str] = []
        self._stop = threading.Event()
        self._ready = threading.Event()
        registry = kopf.OperatorRegistry()
        core = client.CoreV1Api(cluster.kubernetes_client())
        connection = kopf.ConnectionInfo(
            server=cluster.url,
            ca_path=str(cluster._certificates.ca_file),
            certificate_path=str(cluster._certificates.pair("admin").certificate),
            private_key_path=str(cluster._certificates.pair("admin").key),
        )

        @kopf.on.login(registry=registry)
        def login(**_: Any) -> Any:
            return connection

        @kopf.on.startup(registry=registry)
        def quiet(settings: Any, **_: Any) -> None:
            settings.posting.enabled = True

        @kopf.on.create("stable.example.com", "v1", "crontabs", id="create", registry=registry)
        def create(spec: Any, name: str, namespace: str, **_: Any) -> dict[str, Any]:
            body: dict[str, Any] = {"metadata": {"name": name}, "data": {"image": spec["image"]}}
            kopf.adopt(body)
            core.create_namespaced_config_map(namespace, body)
            return {"seen": spec["replicas"]}

        @kopf.on.update("stable.example.com", "v1", "crontabs", field="spec", registry=registry)
        def update(spec: Any, name: str, namespace: str, patch: Any, **_: Any) -> None:
            core.patch_namespaced_config_map(name, namespace, {"data": {"image": spec["image"]}})
            patch.status["phase"] = "Changed"

        @kopf.on.delete("stable.example.com", "v1", "crontabs", registry=registry)
        def delete(name: str, **_: Any) -> None:
            self.deleted.append(name)

        async def run() -> None:
            await kopf.operator(
                registry=registry,
                namespaces=["default"],
                standalone=True,
                stop_flag=self._stop,
                ready_flag=self._ready,
                settings=kopf.OperatorSettings(),
            )

        self._thread = threading.Thread(target=lambda: asyncio.run(run()), name="kopf")

    def __enter__(self) -> Operator:
        self._thread.start()
        assert self._ready.wait(20), "kopf does not start"
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(20)
        assert not self._thread.is_alive(), "kopf does not stop"


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    with LocalCluster(scheduler=False) as running:
        yield running


def test_an_operator_manages_its_kind(cluster: LocalCluster) -> None:
    from kubernetes import client

    api = cluster.kubernetes_client()
    definitions = client.ApiextensionsV1Api(api)
    custom, core = client.CustomObjectsApi(api), client.CoreV1Api(api)
    status = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    made = definition(versions=[version(status=status, subresources={"status": {}})])
    definitions.create_custom_resource_definition(made)
    with Operator(cluster) as operator:

        def create() -> Any:
            try:
                return custom.create_namespaced_custom_object(*PLACE, crontab("job"))
            except client.ApiException as error:
                if error.status != 404:
                    raise
                return None

        eventually(create)

        def seen() -> Any:
            found = custom.get_namespaced_custom_object(*PLACE, "job")
            return found if (found.get("status") or {}).get("create") else None

        found = eventually(seen)
        assert found["status"]["create"] == {"seen": 1}
        assert found["metadata"]["finalizers"] == [FINALIZER]
        assert core.read_namespaced_config_map("job", "default").data == {"image": "busybox"}
        custom.patch_namespaced_custom_object(*PLACE, "job", {"spec": {"image": "alpine"}})

        def changed() -> bool:
            found = custom.get_namespaced_custom_object(*PLACE, "job")
            return (found.get("status") or {}).get("phase") == "Changed"

        eventually(changed)
        assert core.read_namespaced_config_map("job", "default").data == {"image": "alpine"}
        custom.delete_namespaced_custom_object(*PLACE, "job")
        eventually(lambda: not custom.list_namespaced_custom_object(*PLACE)["items"])
        assert operator.deleted == ["job"]
    # What the operator's object owned goes with it.
    eventually(
        lambda: (
            "job" not in [m.metadata.name for m in core.list_namespaced_config_map("default").items]
        )
    )
    definitions.delete_custom_resource_definition("crontabs.stable.example.com")
