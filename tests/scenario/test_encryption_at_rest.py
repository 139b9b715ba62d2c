"""Secrets on the disk: a raw scan of the store's files finds none of them."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
import yaml
from tests.conformance_kit import Rest, wait_until

from kutter.api.catalog import Catalog
from kutter.apiserver import configuration_file
from kutter.apiserver.encryption.configuration import ensure_encryption_file, parse_encryption
from kutter.apiserver.encryption.store import build_rules
from kutter.cluster.api_options import ApiServerOptions
from kutter.testing.cluster import LocalCluster

SECRETS = "/api/v1/namespaces/default/secrets"
MARK = "correct-horse-battery-staple"


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def cluster(tmp_path: Path, *, encrypted: bool = True) -> LocalCluster:
    file = str(tmp_path / "encryption.yaml") if encrypted else ""
    return LocalCluster(
        scheduler=False,
        controllers=False,
        store_file=tmp_path / "store.sqlite",
        api=ApiServerOptions(encryption_provider_config=file),
    )


def on_disk(tmp_path: Path) -> bytes:
    """Database and write-ahead log, as they are."""
    return b"".join(file.read_bytes() for file in sorted(tmp_path.glob("store.sqlite*")))


def secret(name: str, value: str = MARK) -> dict:
    return {"metadata": {"name": name}, "data": {"password": encoded(value)}}


@pytest.fixture(autouse=True)
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are looked at more often than in the world."""
    monkeypatch.setattr(configuration_file, "CHECK_EVERY_S", 0.2)


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    path = tmp_path / "encryption.yaml"
    ensure_encryption_file(path)
    return path


def edit_keys(path: Path, names: str, provider: str = "aesgcm") -> None:
    """The provider's keys, by one letter each, in order."""
    tree = yaml.safe_load(path.read_text())
    made = [{"name": n, "secret": encoded(n * 32)} for n in names]
    tree["resources"][0]["providers"] = [{provider: {"keys": made}}, {"identity": {}}]
    path.write_text(yaml.safe_dump(tree))


def test_no_secret_is_on_the_disk_and_all_are_read(tmp_path: Path, keys: Path) -> None:
    with cluster(tmp_path) as running:
        rest = Rest(running.kubernetes_client())
        rest.post(SECRETS, secret("one"))
        rest.patch(f"{SECRETS}/one", {"data": {"more": encoded(MARK * 2)}})
        rest.post(SECRETS, secret("two"))
        rest.delete(f"{SECRETS}/two")
        rest.post(
            "/api/v1/namespaces/default/configmaps",
            {"metadata": {"name": "plain"}, "data": {"a": "visible-in-the-store"}},
        )
        with rest.watch(SECRETS, resourceVersion="1") as watch:
            shown = watch.until("ADDED")
            assert shown["data"]["password"] == encoded(MARK)
        assert rest.get(f"{SECRETS}/one")["data"]["more"] == encoded(MARK * 2)
        assert [s["metadata"]["name"] for s in rest.get(SECRETS)["items"]] == ["one"]
    found = on_disk(tmp_path)
    assert b"visible-in-the-store" in found
    assert b"k8s:enc:aesgcm:v1:key1:" in found
    for text in (MARK, encoded(MARK), encoded(MARK * 2), '"kind":"Secret"'):
        assert text.encode() not in found
    with cluster(tmp_path) as running:
        assert Rest(running.kubernetes_client()).get(f"{SECRETS}/one")["data"]["password"] == (
            encoded(MARK)
        )


def test_what_was_plain_is_encrypted_at_the_next_start(tmp_path: Path, keys: Path) -> None:
    with cluster(tmp_path, encrypted=False) as running:
        made = Rest(running.kubernetes_client()).post(SECRETS, secret("one"))
    assert encoded(MARK).encode() in on_disk(tmp_path)
    with cluster(tmp_path) as running:
        rest = Rest(running.kubernetes_client())
        wait_until(
            lambda: (
                rest.get(f"{SECRETS}/one")["metadata"]["resourceVersion"]
                != made["metadata"]["resourceVersion"]
            ),
            30,
        )
        renewed = rest.get(f"{SECRETS}/one")
        assert renewed["data"] == made["data"]
        assert renewed["metadata"]["uid"] == made["metadata"]["uid"]
    assert b"k8s:enc:aesgcm:v1:key1:" in on_disk(tmp_path)


@pytest.mark.parametrize("provider", ["aesgcm", "secretbox"])
def test_keys_are_rotated_by_editing_the_file(tmp_path: Path, keys: Path, provider: str) -> None:
    edit_keys(keys, "a", provider)
    with cluster(tmp_path) as running:
        rest = Rest(running.kubernetes_client())
        before = rest.post(SECRETS, secret("one"))["metadata"]["resourceVersion"]
        # A no-op write of what is written with today's key stays one.
        same = rest.put(f"{SECRETS}/one", rest.get(f"{SECRETS}/one"))
        assert same["metadata"]["resourceVersion"] == before
        edit_keys(keys, "ba", provider)
        wait_until(lambda: rest.get(f"{SECRETS}/one")["metadata"]["resourceVersion"] != before, 60)
    edit_keys(keys, "b", provider)
    with cluster(tmp_path) as running:
        found = Rest(running.kubernetes_client()).get(f"{SECRETS}/one")
        assert found["data"]["password"] == encoded(MARK)
    assert f"k8s:enc:{provider}:v1:b:".encode() in on_disk(tmp_path)
    assert encoded(MARK).encode() not in on_disk(tmp_path)


def test_a_write_of_what_is_there_renews_what_an_old_key_wrote(tmp_path: Path, keys: Path) -> None:
    """``kubectl get secrets -o json | kubectl replace -f -``, as upstream's rotation goes."""
    edit_keys(keys, "a")
    with cluster(tmp_path) as running:
        rest = Rest(running.kubernetes_client())
        before = rest.post(SECRETS, secret("one"))
        edit_keys(keys, "ba")
        # As the server does it for a new file, but for the rewriting that comes after.
        rules = build_rules(parse_encryption(keys.read_bytes()), Catalog)
        running.plane.store.rules = rules
        renewed = rest.put(f"{SECRETS}/one", rest.get(f"{SECRETS}/one"))
        assert renewed["data"] == before["data"]
        version = renewed["metadata"]["resourceVersion"]
        assert version != before["metadata"]["resourceVersion"]
        again = rest.put(f"{SECRETS}/one", rest.get(f"{SECRETS}/one"))
        assert again["metadata"]["resourceVersion"] == version
    assert b"k8s:enc:aesgcm:v1:b:" in on_disk(tmp_path)


def test_a_wrong_key_stops_the_start_and_names_the_object(tmp_path: Path, keys: Path) -> None:
    with cluster(tmp_path) as running:
        Rest(running.kubernetes_client()).post(SECRETS, secret("one"))
    edit_keys(keys, "x")
    wrong = cluster(tmp_path)
    with pytest.raises(Exception, match="/registry/secrets/default/one cannot be decrypted"):
        wrong.start()
    wrong.stop()
