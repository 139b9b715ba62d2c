"""Payloads, the atomic swap, and sub-paths that must not leave their volume."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.node.conftest import pod_tree

from kutter.api.types.base import convert
from kutter.api.types.core_v1 import ConfigMap, HostPathVolumeSource, Pod, Secret, Volume
from kutter.node.environment import PodContext
from kutter.node.volumes.atomic import UnsafePathError, read_payload, write_payload
from kutter.node.volumes.payload import File, PayloadError, compute_payload, token_needs
from kutter.node.volumes.pod_volumes import check_host_path, own_tree
from kutter.node.volumes.subpath import SubPathError, open_below

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def context(**spec: Any) -> PodContext:
    configs = {
        "c": convert(ConfigMap, {"data": {"a": "1", "b": "2"}, "binaryData": {"bin": "AAE="}})
    }
    secrets = {"s": convert(Secret, {"data": {"k": "djE="}})}
    return PodContext(convert(Pod, pod_tree(**spec)), configs.get, secrets.get)


def volume(**source: Any) -> Volume:
    return convert(Volume, {"name": "v", **source})


def test_config_map_all_keys_and_chosen_ones() -> None:
    everything = compute_payload(context(), volume(configMap={"name": "c"}), {})
    assert everything["a"] == File(b"1", 0o644)
    assert everything["bin"].content == b"\x00\x01"
    items = [{"key": "b", "path": "deep/er", "mode": 0o400}]
    chosen = compute_payload(context(), volume(configMap={"name": "c", "items": items}), {})
    assert chosen == {"deep/er": File(b"2", 0o400)}


def test_absent_objects_and_keys() -> None:
    with pytest.raises(PayloadError, match='configmap "no" not found'):
        compute_payload(context(), volume(configMap={"name": "no"}), {})
    assert compute_payload(context(), volume(configMap={"name": "no", "optional": True}), {}) == {}
    items = [{"key": "zzz", "path": "p"}]
    with pytest.raises(PayloadError, match="references non-existent"):
        compute_payload(context(), volume(secret={"secretName": "s", "items": items}), {})


def test_projected_mixes_sources_and_tokens() -> None:
    sources = [
        {"serviceAccountToken": {"path": "token", "audience": "x", "expirationSeconds": 600}},
        {"configMap": {"name": "c", "items": [{"key": "a", "path": "ca.crt"}]}},
        {"secret": {"name": "s"}},
        {
            "downwardAPI": {
                "items": [{"path": "ns", "fieldRef": {"fieldPath": "metadata.namespace"}}]
            }
        },
    ]
    made = volume(projected={"sources": sources, "defaultMode": 0o444})
    need = token_needs(made)[0]
    assert (need.path, need.audience, need.expiration_s) == ("token", "x", 600)
    with pytest.raises(PayloadError):
        compute_payload(context(), made, {})
    payload = compute_payload(context(), made, {"token": b"t"})
    assert {p: f.content for p, f in payload.items()} == {
        "token": b"t",
        "ca.crt": b"1",
        "k": b"v1",
        "ns": b"default",
    }


def container(name: str, user: int | None = None) -> dict[str, Any]:
    return {"name": name, "securityContext": {} if user is None else {"runAsUser": user}}


@pytest.mark.parametrize(
    ("spec", "mode", "user"),
    [
        ({}, 0o444, None),
        ({"securityContext": {"fsGroup": 5}}, 0o600, None),
        ({"securityContext": {"runAsUser": 7}}, 0o600, 7),
        ({"securityContext": {"runAsUser": 7, "fsGroup": 5}}, 0o600, 7),
        ({"containers": [container("a", 7), container("b", 7)]}, 0o600, 7),
        ({"containers": [container("a", 7), container("b", 8)]}, 0o444, None),
        ({"containers": [container("a", 7), container("b")]}, 0o444, None),
        ({"containers": [container("a", 7)], "initContainers": [container("i")]}, 0o444, None),
        (
            {
                "containers": [container("a", 7)],
                "securityContext": {"runAsUser": 8},
                "initContainers": [container("i", 7)],
            },
            0o600,
            7,
        ),
    ],
)
def test_a_token_belongs_to_the_one_user_of_its_pod(
    spec: dict[str, Any], mode: int, user: int | None
) -> None:
    sources = [
        {"serviceAccountToken": {"path": "token"}},
        {"configMap": {"name": "c", "items": [{"key": "a", "path": "ca.crt"}]}},
    ]
    made = volume(projected={"sources": sources, "defaultMode": 0o444})
    payload = compute_payload(context(**spec), made, {"token": b"t"})
    assert payload["token"] == File(b"t", mode, user)
    assert payload["ca.crt"] == File(b"1", 0o444)


def test_a_file_is_given_to_its_user_and_the_rest_is_not(tmp_path: Path) -> None:
    user, group = os.geteuid(), os.getgid()
    owners = mock.Mock(wraps=os.chown)
    with mock.patch("kutter.node.volumes.atomic.os.chown", owners):
        write_payload(tmp_path, {"t": File(b"1", 0o600, user), "c": File(b"2", 0o644)}, moment=NOW)
        assert [(call.args[0].name, *call.args[1:]) for call in owners.mock_calls] == [
            ("t", user, -1)
        ]
        write_payload(tmp_path, {"t": File(b"3", 0o600, user)}, group=group, moment=NOW)
    assert (tmp_path / "t").stat().st_mode & 0o777 == 0o640


def test_swap_is_one_rename_and_unchanged_writes_nothing(tmp_path: Path) -> None:
    root = tmp_path / "v"
    assert write_payload(root, {"a": File(b"1", 0o644), "d/e": File(b"x", 0o600)}, moment=NOW)
    first = os.readlink(root / "..data")
    assert (root / "a").read_bytes() == b"1"
    assert os.readlink(root / "a") == "..data/a"
    assert (root / "d" / "e").stat().st_mode & 0o777 == 0o600
    assert not write_payload(
        root, {"a": File(b"1", 0o644), "d/e": File(b"x", 0o600)}, moment=NOW + timedelta(1)
    )
    assert os.readlink(root / "..data") == first
    held = (root / "..data").resolve()
    assert write_payload(root, {"a": File(b"2", 0o644)}, moment=NOW + timedelta(1))
    assert (root / "a").read_bytes() == b"2"
    assert sorted(p.name for p in root.iterdir() if not p.name.startswith("..")) == ["a"]
    assert not held.exists()


@pytest.mark.parametrize("path", ["../x", "/x", "a/../../x", "..data", "", "..hidden"])
def test_paths_that_leave_the_volume_are_refused(tmp_path: Path, path: str) -> None:
    with pytest.raises(UnsafePathError):
        write_payload(tmp_path, {path: File(b"", 0o644)}, moment=NOW)
    assert list(tmp_path.iterdir()) == []


names = st.text(alphabet="abc", min_size=1, max_size=2)


@settings(deadline=None)
@given(
    st.lists(
        st.dictionaries(names, st.binary(max_size=3).map(lambda b: File(b, 0o644)), max_size=4),
        min_size=1,
        max_size=4,
    )
)
def test_a_reader_sees_exactly_the_last_payload(payloads: list[dict[str, File]]) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for number, payload in enumerate(payloads):
            write_payload(root, payload, moment=NOW + timedelta(seconds=number))
        seen = {p.name: p.read_bytes() for p in root.iterdir() if not p.name.startswith("..")}
        assert seen == {name: file.content for name, file in payloads[-1].items()}
        assert len([p for p in root.iterdir() if p.name.startswith("..2")]) == 1
        assert {n: c for n, (c, _) in read_payload(root).items()} == seen


def _target(descriptor: int) -> str:
    try:
        return os.readlink(f"/proc/self/fd/{descriptor}")
    finally:
        os.close(descriptor)


def test_sub_path_opens_makes_and_follows_inside(tmp_path: Path) -> None:
    root = tmp_path / "v"
    (root / "real").mkdir(parents=True)
    (root / "link").symlink_to("real")
    assert _target(open_below(root, "real")) == str(root / "real")
    assert _target(open_below(root, "link")) == str(root / "real")
    assert _target(open_below(root, "new/deep", create=True, mode=0o775)) == str(root / "new/deep")
    assert (root / "new").stat().st_mode & 0o777 == 0o775
    assert _target(open_below(root, ".")) == str(root)


@pytest.mark.parametrize("target", ["/etc", "../secret", "a/../../secret", "loop"])
def test_sub_path_never_leaves_by_a_link(tmp_path: Path, target: str) -> None:
    root = tmp_path / "v"
    root.mkdir()
    (root / "a").mkdir()
    (tmp_path / "secret").mkdir()
    (root / "loop").symlink_to("loop")
    (root / "evil").symlink_to(target)
    open_before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(SubPathError):
        open_below(root, "evil", create=True)
    with pytest.raises(SubPathError):
        open_below(root, "evil/below", create=True)
    assert len(os.listdir("/proc/self/fd")) == open_before


@pytest.mark.parametrize("path", ["/etc", "../x", "a/../b"])
def test_sub_path_itself_must_stay_inside(tmp_path: Path, path: str) -> None:
    with pytest.raises(SubPathError):
        open_below(tmp_path, path, create=True)


@pytest.mark.parametrize(
    ("kind", "name", "text"),
    [
        ("Directory", "none", "is not a directory"),
        ("Directory", "file", "is not a directory"),
        ("File", "none", "is not a file"),
        ("File", "folder", "is not a file"),
        ("Socket", "file", "is not a socket file"),
        ("CharDevice", "file", "is not a character device"),
        ("BlockDevice", "file", "is not a block device"),
    ],
)
def test_host_path_of_the_wrong_kind(tmp_path: Path, kind: str, name: str, text: str) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    with pytest.raises(PayloadError) as caught:
        check_host_path(HostPathVolumeSource(path=str(tmp_path / name), type=kind))
    assert str(caught.value) == f"hostPath type check failed: {tmp_path / name} {text}"


def test_host_path_is_made_when_asked(tmp_path: Path) -> None:
    source = HostPathVolumeSource(path=str(tmp_path / "d"), type="DirectoryOrCreate")
    assert check_host_path(source).is_dir()
    source = HostPathVolumeSource(path=str(tmp_path / "f"), type="FileOrCreate")
    assert check_host_path(source).is_file()


def test_group_owns_the_tree_but_not_what_links_point_to(tmp_path: Path) -> None:
    root, outside = tmp_path / "v", tmp_path / "outside"
    (root / "d").mkdir(parents=True)
    (root / "d" / "f").write_text("x")
    (root / "d" / "f").chmod(0o600)
    outside.write_text("y")
    outside.chmod(0o600)
    (root / "link").symlink_to(outside)
    group = os.getgid()
    own_tree(root, group, "Always")
    assert (root / "d" / "f").stat().st_mode & 0o777 == 0o660
    assert (root / "d").stat().st_mode & 0o2070 == 0o2070
    assert outside.stat().st_mode & 0o777 == 0o600
