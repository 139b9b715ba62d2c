"""Stored objects are written again under today's version and key, on request."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.conformance_kit import Rest, wait_until
from tests.custom_kinds import CRDS, definition, version

from kutter.api.catalog import Catalog
from kutter.apiserver.encryption.configuration import ensure_encryption_file, parse_encryption
from kutter.apiserver.encryption.store import build_rules
from kutter.cluster.api_options import ApiServerOptions
from kutter.testing.cluster import LocalCluster

MIGRATIONS = "/apis/storagemigration.k8s.io/v1beta1/storageversionmigrations"
SECRETS = "/api/v1/namespaces/default/secrets"
ANY = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}


def served(**api: Any) -> ApiServerOptions:
    return ApiServerOptions(runtime_config="storagemigration.k8s.io/v1beta1=true", **api)


def migration(name: str, resource: str, group: str = "") -> dict[str, Any]:
    return {
        "apiVersion": "storagemigration.k8s.io/v1beta1",
        "kind": "StorageVersionMigration",
        "metadata": {"name": name},
        "spec": {"resource": {"resource": resource, "group": group}},
    }


def conditions(tree: dict[str, Any]) -> dict[str, str]:
    return {c["type"]: c["status"] for c in tree.get("status", {}).get("conditions", ())}


def migrate(rest: Rest, name: str, resource: str, group: str = "") -> dict[str, Any]:
    """Ask for a migration and wait until it ended, the definition included."""
    rest.post(MIGRATIONS, migration(name, resource, group))

    def ended() -> dict[str, Any] | None:
        found = rest.get(f"{MIGRATIONS}/{name}")
        return found if conditions(found).get("Running") == "False" else None

    return wait_until(ended, 60)


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    with LocalCluster(scheduler=False, api=served()) as running:
        yield running


@pytest.fixture
def rest(cluster: LocalCluster) -> Rest:
    return Rest(cluster.kubernetes_client())


def raw(cluster: LocalCluster, prefix: str) -> dict[str, bytes]:
    """What lies in the store below a prefix."""

    async def read() -> dict[str, bytes]:
        found = await cluster.plane.store.range(prefix, prefix + "\x7f")
        return {record.key: record.value for record in found.records}

    return cluster.run(read())


def test_a_custom_resource_moves_to_the_version_it_is_stored_in(
    cluster: LocalCluster, rest: Rest
) -> None:
    crd = f"{CRDS}/moved.stable.example.com"
    both = [version("v1", spec=ANY), version("v2", spec=ANY, storage=False)]
    rest.post(CRDS, definition("moved", "Moved", versions=both))
    wait_until(lambda: conditions(rest.get(crd)).get("Established") == "True")
    path = "/apis/stable.example.com/v1/namespaces/default/moved"
    body = {"apiVersion": "stable.example.com/v1", "kind": "Moved", "spec": {"a": 1}}
    for number in range(7):
        wait_until(
            lambda n=number: (
                rest.answer("POST", path, {**body, "metadata": {"name": f"m{n}"}}).status == 201
            )
        )

    def turn(tree: dict[str, Any]) -> None:
        for entry in tree["spec"]["versions"]:
            entry["storage"] = entry["name"] == "v2"

    rest.change(crd, turn)
    assert rest.get(crd)["status"]["storedVersions"] == ["v1", "v2"]
    # Until somebody writes them they stay as they are.
    stored = raw(cluster, "/registry/stable.example.com/moved/")
    assert len(stored) == 7
    assert all(b"stable.example.com/v1" in value for value in stored.values())
    before = rest.get(f"{path}/m3")

    done = migrate(rest, "move", "moved", "stable.example.com")
    assert conditions(done) == {"Running": "False", "Succeeded": "True"}
    reasons = {c["type"]: c["reason"] for c in done["status"]["conditions"]}
    assert reasons == {
        "Running": "MigrationCompleted",
        "Succeeded": "StorageVersionMigrationSucceeded",
    }
    stored = raw(cluster, "/registry/stable.example.com/moved/")
    assert len(stored) == 7
    assert all(b'"stable.example.com/v2"' in value for value in stored.values())
    after = rest.get(f"{path}/m3")
    for tree in (before, after):
        del tree["metadata"]["resourceVersion"]
    assert after == before
    told = rest.get(crd)
    assert told["status"]["storedVersions"] == ["v2"]
    assert conditions(told)["StorageMigrating"] == "False"

    def drop(tree: dict[str, Any]) -> None:
        tree["spec"]["versions"] = [v for v in tree["spec"]["versions"] if v["name"] == "v2"]

    rest.change(crd, drop)
    found = rest.get("/apis/stable.example.com/v2/namespaces/default/moved")
    assert [item["spec"] for item in found["items"]] == [{"a": 1}] * 7


def test_two_migrations_of_a_resource_run_one_after_the_other(rest: Rest) -> None:
    rest.post(MIGRATIONS, migration("first", "configmaps"))
    second = migrate(rest, "second", "configmaps")
    assert conditions(rest.get(f"{MIGRATIONS}/first"))["Succeeded"] == "True"
    assert conditions(second)["Succeeded"] == "True"


def test_a_resource_that_cannot_be_written_fails_it(rest: Rest) -> None:
    found = migrate(rest, "no-patch", "componentstatuses")
    failed = next(c for c in found["status"]["conditions"] if c["type"] == "Failed")
    assert failed["reason"] == "StorageVersionMigrationFailed"
    assert failed["message"].startswith("migration encountered unhandled error: ")


def test_what_is_refused(rest: Rest) -> None:
    bad = rest.answer("POST", MIGRATIONS, migration("bad", "", "-")).tree
    causes = [(c["field"], c["reason"]) for c in bad["details"]["causes"]]
    assert causes == [
        ("spec.resource.resource", "FieldValueRequired"),
        ("spec.resource.group", "FieldValueInvalid"),
    ]
    made = migrate(rest, "kept", "limitranges")
    made["spec"]["resource"]["resource"] = "secrets"
    refused = rest.answer("PUT", f"{MIGRATIONS}/kept", made).tree
    assert [c["field"] for c in refused["details"]["causes"]] == ["spec"]
    made = rest.get(f"{MIGRATIONS}/kept")
    made["status"] = {
        "resourceVersion": "07",
        "conditions": [{**c, "status": "False"} for c in made["status"]["conditions"]],
    }
    refused = rest.answer("PUT", f"{MIGRATIONS}/kept/status", made).tree
    assert [c["field"] for c in refused["details"]["causes"]] == [
        "status.resourceVersion",
        "status.resourceVersion",
        "status.conditions",
    ]
    # As it is printed upstream, field by field in the order of its struct.
    assert '[{"type":"Running","status":"False","lastTransitionTime":"' in refused["message"]


def test_the_table_says_what_and_how_far(rest: Rest) -> None:
    migrate(rest, "shown", "leases", "coordination.k8s.io")
    accept = {"accept": "application/json;as=Table;g=meta.k8s.io;v=v1"}
    table = rest.ok("GET", f"{MIGRATIONS}/shown", headers=accept)
    assert [c["name"] for c in table["columnDefinitions"]] == ["Name", "Resource", "Status"]
    assert table["rows"][0]["cells"] == ["shown", "leases.coordination.k8s.io", "Succeeded"]


def edit_keys(path: Path, names: str) -> None:
    tree = yaml.safe_load(path.read_text())
    made = [{"name": n, "secret": base64.b64encode(n.encode() * 32).decode()} for n in names]
    tree["resources"][0]["providers"] = [{"aesgcm": {"keys": made}}, {"identity": {}}]
    path.write_text(yaml.safe_dump(tree))


def test_secrets_move_to_the_new_key_and_an_interrupted_one_goes_on(tmp_path: Path) -> None:
    keys, file = tmp_path / "encryption.yaml", tmp_path / "store.sqlite"
    ensure_encryption_file(keys)
    edit_keys(keys, "a")
    api = served(encryption_provider_config=str(keys))
    with LocalCluster(scheduler=False, api=api, store_file=file) as running:
        rest = Rest(running.kubernetes_client())
        for name in ("one", "two"):
            rest.post(SECRETS, {"metadata": {"name": name}, "stringData": {"a": name}})
        edit_keys(keys, "ba")
        # As the server does it for a new file, but for the rewriting that comes after.
        store = running.plane.store
        store.rules = build_rules(parse_encryption(keys.read_bytes()), Catalog)
        place = "/registry/secrets/default/one"
        assert running.run(store.is_stale(place))
        migrate(rest, "rotated", "secrets")
        assert not running.run(store.is_stale(place))
        assert not running.run(store.is_stale("/registry/secrets/default/two"))
        assert rest.get(f"{SECRETS}/one")["data"]["a"] == base64.b64encode(b"one").decode()
    # As another server left it: running, its version known, nothing written yet.
    with LocalCluster(scheduler=False, controllers=False, api=api, store_file=file) as running:
        rest = Rest(running.kubernetes_client())
        made = rest.post(MIGRATIONS, migration("left", "secrets"))
        made["status"] = {
            "resourceVersion": made["metadata"]["resourceVersion"],
            "conditions": [
                {
                    "type": "Running",
                    "status": "True",
                    "reason": "MigrationRunning",
                    "message": "The migration is running",
                    "lastTransitionTime": "2026-01-01T00:00:00Z",
                }
            ],
        }
        rest.put(f"{MIGRATIONS}/left/status", made)
    with LocalCluster(scheduler=False, api=api, store_file=file) as running:
        rest = Rest(running.kubernetes_client())
        wait_until(
            lambda: (
                conditions(rest.get(f"{MIGRATIONS}/left"))
                == {"Running": "False", "Succeeded": "True"}
            ),
            60,
        )
