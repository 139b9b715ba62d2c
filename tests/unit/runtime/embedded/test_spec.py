"""The pure part of making a container."""

from dataclasses import replace
from pathlib import Path

import pytest

from kutter.runtime.cri import (
    ContainerConfig,
    ContainerMetadata,
    CreateContainerError,
    Mount,
    Resources,
    SecurityContext,
)
from kutter.runtime.embedded.manifests import ImageConfig
from kutter.runtime.embedded.spec import (
    DEFAULT_CAPABILITIES,
    Host,
    Surroundings,
    compute_capabilities,
    compute_command,
    render_spec,
)
from kutter.runtime.embedded.users import ResolvedUser

_HOST = Host()
_AROUND = Surroundings(
    hostname="pod",
    namespaces={"network": "/ns/net", "ipc": "/ns/ipc", "pid": ""},
    files={"/etc/hosts": "/files/hosts"},
    shm="/shm",
    cgroup="/kutter/pod/c",
    rootfs="/rootfs",
)
_IMAGE = ImageConfig()
_CONFIG = ContainerConfig(ContainerMetadata("c"), "image", command=("run",))


def _spec(config=_CONFIG, image=_IMAGE, around=_AROUND, host=_HOST):
    return render_spec(config, image, ResolvedUser(0, 0, ()), around, host)


def _mounts(spec):
    return {mount["destination"]: mount for mount in spec["mounts"]}


@pytest.mark.parametrize(
    ("command", "args", "expected"),
    [
        ((), (), ["e", "c"]),
        (("x",), (), ["x"]),
        ((), ("y",), ["e", "y"]),
        (("x",), ("y",), ["x", "y"]),
    ],
)
def test_commands_combine_as_cri_says(command, args, expected):
    image = ImageConfig(entrypoint=("e",), cmd=("c",))
    assert compute_command(replace(_CONFIG, command=command, args=args), image) == expected


def test_nothing_to_run_is_an_error():
    with pytest.raises(CreateContainerError, match="no command"):
        compute_command(replace(_CONFIG, command=()), ImageConfig())


@pytest.mark.parametrize(
    ("add", "drop", "expected"),
    [
        ((), (), set(DEFAULT_CAPABILITIES)),
        (("NET_ADMIN",), (), {*DEFAULT_CAPABILITIES, "CAP_NET_ADMIN"}),
        ((), ("ALL",), set()),
        (("CAP_CHOWN",), ("all",), {"CAP_CHOWN"}),
        (("ALL",), ("SYS_ADMIN",), set(_HOST.capabilities) - {"CAP_SYS_ADMIN"}),
    ],
)
def test_capabilities(add, drop, expected):
    security = SecurityContext(capabilities_add=add, capabilities_drop=drop)
    assert set(compute_capabilities(security, _HOST)) == expected


def test_a_host_without_a_capability_does_not_give_it():
    host = Host(capabilities=("CAP_CHOWN",))
    assert compute_capabilities(SecurityContext(privileged=True), host) == ["CAP_CHOWN"]
    assert compute_capabilities(SecurityContext(), host) == ["CAP_CHOWN"]


def test_joins_what_has_a_path_makes_what_has_none_keeps_what_is_left_out():
    kinds = _spec()["linux"]["namespaces"]
    assert {"type": "network", "path": "/ns/net"} in kinds
    assert {"type": "pid"} in kinds
    assert not any(kind["type"] == "uts" for kind in kinds)


def test_the_callers_mount_replaces_a_default_at_its_place():
    own = (Mount("/etc/hosts", Path("/mine")), Mount("/dev/shm/", Path("/big")))
    mounts = _spec(replace(_CONFIG, mounts=own))["mounts"]
    assert [m["source"] for m in mounts if m["destination"].rstrip("/") == "/etc/hosts"] == [
        "/mine"
    ]
    assert [m["source"] for m in mounts if m["destination"].rstrip("/") == "/dev/shm"] == ["/big"]


def test_mount_options():
    own = (
        Mount("/a", Path("/x"), readonly=True, recursive_readonly=True),
        Mount("/b", Path("/y"), propagation="rslave"),
    )
    spec = _spec(replace(_CONFIG, mounts=own))
    assert _mounts(spec)["/a"]["options"] == ["rbind", "rprivate", "ro", "rro"]
    assert _mounts(spec)["/b"]["options"] == ["rbind", "rslave", "rw"]
    assert spec["linux"]["rootfsPropagation"] == "rslave"


def test_privileged_opens_what_is_closed_otherwise():
    plain = _spec()
    loose = _spec(replace(_CONFIG, security=SecurityContext(privileged=True)))
    assert "ro" in _mounts(plain)["/sys"]["options"]
    assert "ro" not in _mounts(loose)["/sys"]["options"]
    assert plain["linux"]["seccomp"]
    assert "/proc/kcore" in plain["linux"]["maskedPaths"]
    assert not {"seccomp", "maskedPaths", "readonlyPaths"} & loose["linux"].keys()
    assert loose["linux"]["resources"]["devices"] == [{"allow": True, "access": "rwm"}]


def test_an_unmasked_proc():
    security = SecurityContext(masked_paths=(), readonly_paths=())
    linux = _spec(replace(_CONFIG, security=security))["linux"]
    assert linux["maskedPaths"] == linux["readonlyPaths"] == []


def test_the_oom_score_is_clamped_to_what_this_host_allows():
    config = replace(_CONFIG, resources=Resources(oom_score_adj=-998))
    assert _spec(config)["process"]["oomScoreAdj"] == -998
    host = Host(oom_score_adj_min=0)
    assert _spec(config, host=host)["process"]["oomScoreAdj"] == 0
    assert "oomScoreAdj" not in _spec()["process"]


def test_limits_and_the_group_kill_of_version_2():
    config = replace(_CONFIG, resources=Resources(cpu_shares=5, memory_limit_bytes=7, pids_limit=3))
    resources = _spec(config)["linux"]["resources"]
    assert (resources["cpu"], resources["memory"]) == ({"shares": 5}, {"limit": 7})
    assert resources["pids"] == {"limit": 3}
    assert "unified" not in resources
    v2 = _spec(config, host=Host(cgroup_v2=True))["linux"]["resources"]
    assert v2["unified"] == {"cpu.weight": "2", "memory.oom.group": "1"}
    assert "cpu" not in v2, "what the OCI runtime would make of shares is not asked for"


def test_the_environment_prefers_the_caller():
    image = ImageConfig(env=("PATH=/image", "A=1", "EMPTY"))
    config = replace(_CONFIG, envs=(("A", "2"), ("X", "=")), tty=True)
    env = _spec(config, image)["process"]["env"]
    assert env == ["PATH=/image", "A=2", "EMPTY=", "HOSTNAME=pod", "TERM=xterm", "X==", "HOME=/"]


def test_an_unknown_seccomp_profile_is_refused():
    with pytest.raises(CreateContainerError, match="seccomp"):
        _spec(replace(_CONFIG, security=SecurityContext(seccomp="docker/default")))
