"""Namespaces and mounts on the real kernel."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from kutter.linux.mounts import list_mounts, mount_overlay, mounts_below, unmount_below
from kutter.linux.namespaces import (
    in_network,
    is_pinned,
    open_socket,
    pin_namespaces,
    read_link_counters,
    unpin_namespaces,
)
from kutter.linux.syscalls import open_in_root

pytestmark = pytest.mark.root


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    unmount_below(tmp_path)
    assert mounts_below(tmp_path) == []


def test_pinning_leaves_the_caller_where_it_is(folder: Path) -> None:
    before = {kind: os.readlink(f"/proc/thread-self/ns/{kind}") for kind in ("net", "ipc", "uts")}
    name = os.uname().nodename
    pin_namespaces(folder, ("net", "uts"), hostname="other", sysctls={"net.ipv4.ip_forward": "1"})
    assert {k: os.readlink(f"/proc/thread-self/ns/{k}") for k in before} == before
    assert os.uname().nodename == name
    assert is_pinned(folder / "net")
    assert not is_pinned(folder / "ipc")
    inside = in_network(folder / "net", lambda: os.readlink("/proc/thread-self/ns/net"))
    assert inside != before["net"]
    unpin_namespaces(folder)
    unpin_namespaces(folder)
    assert not is_pinned(folder / "net")
    assert list(folder.iterdir()) == []


def test_sockets_of_a_pinned_network(folder: Path) -> None:
    pin_namespaces(folder, ("net",))
    with open_socket(folder / "net", socket.AF_INET, socket.SOCK_STREAM) as server:
        server.bind(("127.0.0.1", 80))
        server.listen()
        port = ("127.0.0.1", 80)
        with socket.socket() as ours, pytest.raises(ConnectionRefusedError):
            ours.connect(port)
        server.setblocking(True)
        with open_socket(folder / "net", socket.AF_INET, socket.SOCK_STREAM) as client:
            client.setblocking(True)
            client.connect(port)
            accepted, _ = server.accept()
            client.sendall(b"hello")
            assert accepted.recv(10) == b"hello"
            accepted.close()
    received, sent = read_link_counters(folder / "net", "lo")
    assert received == sent > 0
    assert read_link_counters(folder / "net", "eth0") == (0, 0)


def test_a_failure_inside_reaches_the_caller(folder: Path) -> None:
    with pytest.raises(ValueError, match="does not belong"):
        pin_namespaces(folder, ("net",), sysctls={"vm.swappiness": "1"})
    with pytest.raises(FileNotFoundError):
        pin_namespaces(folder, ("net",), sysctls={"net.no.such": "1"})
    unpin_namespaces(folder)


def test_overlay_of_relative_layers(folder: Path) -> None:
    here = Path.cwd()
    for name in ("low", "high", "upper", "work", "merged"):
        (folder / name).mkdir()
    (folder / "low" / "file").write_text("low")
    (folder / "high" / "file").write_text("high")
    mount_overlay(folder, ["high", "low"], folder / "upper", folder / "work", folder / "merged")
    assert (folder / "merged" / "file").read_text() == "high"
    assert Path.cwd() == here
    mounted = next(e for e in list_mounts() if e.mount_point == str(folder / "merged"))
    kernel = tuple(int(part) for part in os.uname().release.split(".")[:2])
    volatile = not {"volatile", "fsync=volatile"}.isdisjoint(mounted.options.split(","))
    assert volatile is (kernel >= (5, 10)), "its end must not write the whole disk back"
    assert unmount_below(folder) == 1
    with pytest.raises(OSError, match="too many"):
        mount_overlay(folder, ["x" * 50] * 100, folder, folder, folder / "merged")


def test_links_do_not_lead_out_of_a_root(folder: Path) -> None:
    (folder / "etc").mkdir()
    (folder / "etc" / "passwd").write_text("inside")
    (folder / "absolute").symlink_to("/etc/passwd")
    (folder / "upwards").symlink_to("../../../../../../etc/passwd")
    for name in ("/absolute", "upwards", "../../etc/passwd"):
        with os.fdopen(open_in_root(folder, name)) as file:
            assert file.read() == "inside"
    (folder / "magic").symlink_to("/proc/self/root")
    with pytest.raises(OSError, match="magic"):
        open_in_root(folder, "magic/etc/passwd")
