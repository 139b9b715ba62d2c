"""What is repaired between services and IPAddress objects, also after a crash."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from kutter.api.types.core_v1 import Service
from kutter.api.types.networking_v1 import IPAddress
from kutter.apiserver.authn.identity import GROUP_MASTERS, User
from kutter.apiserver.service_addresses import Repair, plan_repair
from kutter.base.tasks import Scope
from kutter.cluster.control_plane import ControlPlane, ControlPlaneOptions
from kutter.store.memory import MemoryStore

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
OLD, NEW = "2026-01-01T11:00:00Z", "2026-01-01T12:30:00Z"


def service(name: str, *addresses: str) -> dict[str, Any]:
    return {
        "metadata": {"namespace": "blue", "name": name},
        "spec": {"clusterIP": addresses[0] if addresses else "None", "clusterIPs": [*addresses]},
    }


def address(name: str, parent: str, *, made: str = OLD, managed: bool = True) -> dict[str, Any]:
    labels = {"ipaddress.kubernetes.io/managed-by": "ipallocator.k8s.io"} if managed else {}
    reference = {"resource": "services", "namespace": "blue", "name": parent}
    return {
        "metadata": {"name": name, "labels": labels, "creationTimestamp": made},
        "spec": {"parentRef": reference},
    }


def test_what_belongs_together_is_left_alone() -> None:
    services = [service("web", "10.43.0.5", "fd00::5"), service("headless")]
    there = [address("10.43.0.5", "web"), address("fd00::5", "web")]
    assert plan_repair(services, there, before=NOW) == Repair()


def test_what_is_missing_and_what_is_left_over() -> None:
    services = [service("web", "10.43.0.5"), service("other", "10.43.0.6")]
    there = [
        address("10.43.0.6", "gone"),
        address("10.43.0.7", "gone"),
        address("10.43.0.8", "web"),
        # Its service may be on its way.
        address("10.43.0.9", "coming", made=NEW),
        # Somebody else's.
        address("10.43.0.10", "gone", managed=False),
    ]
    assert plan_repair(services, there, before=NOW) == Repair(
        missing=(("10.43.0.5", "blue/web"), ("10.43.0.6", "blue/other")),
        orphans=(
            ("10.43.0.6", "blue/gone"),
            ("10.43.0.7", "blue/gone"),
            ("10.43.0.8", "blue/web"),
        ),
    )


def plane(store: MemoryStore) -> ControlPlane:
    key = generate_private_key(SECP256R1())
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    options = ControlPlaneOptions(token_key_pem=pem, with_controllers=False, with_scheduler=False)
    return ControlPlane(store, options)


def without_times(tree: dict[str, Any]) -> dict[str, Any]:
    for field in ("resourceVersion", "uid", "creationTimestamp", "managedFields"):
        tree["metadata"].pop(field, None)
    return tree


async def test_a_start_repairs_what_a_crash_left() -> None:
    store = MemoryStore()
    admin = User("admin", groups=(GROUP_MASTERS,))
    async with Scope("first") as scope:
        first = plane(store)
        await first.start(scope)
        client = first.client(admin)
        body: dict[str, Any] = {
            "metadata": {"name": "web"},
            "spec": {"ports": [{"port": 80}], "clusterIP": "10.43.5.5"},
        }
        await client.create(Service, body, "default")
        # As if the server had died between the two writes, of a creation and of a deletion.
        left = without_times(await client.get_tree(IPAddress, "10.43.5.5"))
        left["metadata"]["name"] = "10.43.6.6"
        left["spec"]["parentRef"]["name"] = "never-stored"
        await client.create(IPAddress, left)
        key = "/registry/ipaddresses/10.43.5.5"
        assert await store.delete(key) is not None
        await first.api.stop()
    async with Scope("second") as scope:
        second = plane(store)
        await second.start(scope)
        client = second.client(admin)
        found = await client.list(IPAddress)
        assert sorted(a.metadata.name for a in found.items) == ["10.43.0.1", "10.43.5.5"]
        body["metadata"]["name"] = "other"
        body["spec"]["clusterIP"] = "10.43.6.6"
        made = await client.create(Service, body, "default")
        assert made["spec"]["clusterIP"] == "10.43.6.6"
        await second.api.stop()
