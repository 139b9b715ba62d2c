"""cgroups on folders that look like the kernel's, so that every layout is held on any host."""

from pathlib import Path

import pytest

from kutter.linux.cgroups import (
    Cgroups,
    Layout,
    Limits,
    detect_cgroups,
    parse_own_group,
    shares_to_weight,
)
from kutter.linux.mounts import parse_mountinfo

_V1 = """
30 22 0:26 / /c/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct
31 22 0:27 / /c/memory rw - cgroup cgroup rw,memory
32 22 0:28 / /c/systemd rw - cgroup cgroup rw,xattr,name=systemd
"""
_V2 = "33 22 0:29 / /c/unified rw - cgroup2 cgroup2 rw\n"


def test_tells_the_layouts_apart():
    assert detect_cgroups(parse_mountinfo(_V1)).layout is Layout.V1
    hybrid = detect_cgroups(parse_mountinfo(_V1 + _V2))
    assert hybrid.layout is Layout.HYBRID
    assert hybrid.path("cpuacct", "/a/b") == Path("/c/cpu,cpuacct/a/b")
    assert hybrid.has("memory")
    assert not hybrid.has("pids")
    v2 = detect_cgroups(parse_mountinfo(_V2))
    assert v2.layout is Layout.V2
    assert v2.path("memory", "/a") == Path("/c/unified/a")
    with pytest.raises(FileNotFoundError):
        detect_cgroups([])


def test_shares_become_weights_as_the_kubelet_has_it():
    assert [shares_to_weight(n) for n in (0, 1, 2, 256, 1024, 262144, 1 << 30)] == [
        0,
        1,
        1,
        35,
        100,
        10000,
        10000,
    ]


@pytest.fixture
def v1(tmp_path: Path) -> Cgroups:
    roots = {name: tmp_path / name for name in ("cpu", "cpuacct", "cpuset", "memory", "pids")}
    for root in roots.values():
        root.mkdir()
    (roots["cpuset"] / "cpuset.cpus").write_text("0-1\n")
    (roots["cpuset"] / "cpuset.mems").write_text("0\n")
    return Cgroups(Layout.V1, roots)


@pytest.fixture
def v2(tmp_path: Path) -> Cgroups:
    (tmp_path / "cgroup.controllers").write_text("cpu memory pids\n")
    return Cgroups(Layout.V2, {"unified": tmp_path})


def test_v1_makes_the_group_everywhere_and_fills_cpusets(v1: Cgroups):
    v1.create("/kutter/pod")
    assert all((root / "kutter/pod").is_dir() for root in v1.roots.values())
    assert v1.path("cpuset", "/kutter/pod/").joinpath("cpuset.cpus").read_text() == "0-1\n"
    assert v1.exists("/kutter/pod")
    assert v1.list_groups("/kutter") == ["pod"]


def test_v1_limits_and_usage(v1: Cgroups):
    v1.create("/g")
    limits = Limits(cpu_shares=2, cpu_quota_us=-1, memory_bytes=1000, pids=-1)
    v1.write_limits("/g", limits)
    assert (v1.path("cpu", "/g") / "cpu.cfs_quota_us").read_text() == "-1"
    assert (v1.path("memory", "/g") / "memory.limit_in_bytes").read_text() == "1000"
    assert (v1.path("pids", "/g") / "pids.max").read_text() == "max"
    (v1.path("cpuacct", "/g") / "cpuacct.usage").write_text("77\n")
    memory = v1.path("memory", "/g")
    (memory / "memory.usage_in_bytes").write_text("500\n")
    (memory / "memory.stat").write_text("cache 9\ntotal_inactive_file 200\n")
    (memory / "memory.oom_control").write_text("oom_kill_disable 0\nunder_oom 0\noom_kill 3\n")
    usage = v1.read_usage("/g")
    assert (usage.cpu_ns, usage.memory_bytes, usage.working_set_bytes) == (77, 500, 300)
    assert usage.oom_kills == 3


def test_v2_limits_and_usage(v2: Cgroups):
    folder = v2.path("memory", "/g")
    folder.mkdir()
    (folder / "cgroup.controllers").write_text("cpu memory pids\n")
    limits = Limits(cpu_shares=1024, cpu_quota_us=50_000, memory_bytes=-1, pids=9)
    v2.write_limits("/g", limits)
    assert (folder / "cpu.weight").read_text() == "100"
    assert (folder / "cpu.max").read_text() == "50000 100000"
    assert (folder / "memory.max").read_text() == "max"
    assert (folder / "pids.max").read_text() == "9"
    (folder / "cpu.stat").write_text("usage_usec 5\nuser_usec 1\n")
    (folder / "memory.current").write_text("900\n")
    (folder / "memory.stat").write_text("inactive_file 1000\n")
    (folder / "memory.events").write_text("low 0\noom 2\noom_kill 1\n")
    (folder / "pids.current").write_text("4\n")
    usage = v2.read_usage("/g")
    assert usage == type(usage)(5000, 900, 0, 4, 1)


def test_v2_hands_controllers_down(v2: Cgroups):
    root = v2.roots["unified"]
    (root / "cgroup.subtree_control").write_text("cpu\n")
    v2.create("/a/b")
    assert (root / "a" / "b").is_dir()
    # The kernel reads each write by itself; the last one is what a plain file keeps.
    assert (root / "cgroup.subtree_control").read_text() == "+pids"


def test_what_is_gone_reads_as_zeros(v1: Cgroups, v2: Cgroups):
    for cgroups in (v1, v2):
        usage = cgroups.read_usage("/no/such")
        assert usage == type(usage)()
        assert cgroups.list_pids("/no/such") == []
        assert cgroups.kill_all("/no/such") == 0
        assert cgroups.remove("/no/such")


def test_our_own_group():
    text = "9:name=systemd:/s\n4:cpu,cpuacct:/a:b\n0::/u\n"
    names = ("cpu", "cpuacct", "name=systemd", "unified", "memory")
    assert [parse_own_group(text, name) for name in names] == ["/a:b", "/a:b", "/s", "/u", ""]


def test_groups_cannot_leave_the_hierarchy(v1: Cgroups):
    for group in ("relative", "/a/../../b"):
        with pytest.raises(AssertionError):
            v1.create(group)
