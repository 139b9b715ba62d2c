"""Who a container is and what it may do, as the kernel sees it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.contract.runtime.world import World

from kutter.runtime.cri import (
    CreateContainerError,
    Device,
    DnsConfig,
    Mount,
    Resources,
    SecurityContext,
)
from kutter.runtime.embedded.images import ImageInUseError
from kutter.testing.images import (
    FileLike,
    build_busybox_image,
    build_image,
    make_folder,
    make_link,
)

pytestmark = pytest.mark.root

_DEFAULT_CAPABILITIES = 0xA80425FB


async def _status(world: World, field: str, **options: object) -> str:
    sandbox = await world.sandbox()
    code, text = await world.output(sandbox, f"grep ^{field}: /proc/self/status", **options)
    assert code == 0
    return text.partition(":")[2].strip()


async def test_default_capabilities_are_those_of_other_runtimes(world: World) -> None:
    assert int(await _status(world, "CapEff"), 16) == _DEFAULT_CAPABILITIES
    assert int(await _status(world, "CapBnd"), 16) == _DEFAULT_CAPABILITIES
    assert int(await _status(world, "CapInh"), 16) == 0


async def test_capabilities_are_added_and_dropped(world: World) -> None:
    only = SecurityContext(capabilities_add=("NET_BIND_SERVICE",), capabilities_drop=("ALL",))
    assert int(await _status(world, "CapEff", security=only), 16) == 1 << 10
    less = SecurityContext(capabilities_add=("CAP_SYS_PTRACE",), capabilities_drop=("CHOWN",))
    wanted = (_DEFAULT_CAPABILITIES | 1 << 19) & ~1
    assert int(await _status(world, "CapEff", security=less), 16) == wanted
    with pytest.raises(CreateContainerError, match="unknown capability"):
        await _status(world, "CapEff", security=SecurityContext(capabilities_add=("NONSENSE",)))


async def test_other_users_have_no_capabilities(world: World) -> None:
    security = SecurityContext(run_as_user=1000, run_as_group=3000, supplemental_groups=(4000,))
    assert int(await _status(world, "CapEff", security=security), 16) == 0
    sandbox = await world.sandbox()
    _, text = await world.output(sandbox, "id -u; id -g; id -G", security=security)
    assert text.splitlines() == ["1000", "3000", "3000 4000"]


async def test_users_and_groups_of_the_image(world: World) -> None:
    files = {
        "etc/passwd": "root:x:0:0::/root:/bin/sh\napp:x:500:600::/home/app:/bin/sh\n",
        "etc/group": "root:x:0:\nmain:x:600:\nextra:x:700:app,other\n",
    }
    built = build_busybox_image(world.base / "u.tar", "users:1", files, user="app")
    await world.images.import_archive(built.path)
    sandbox = await world.sandbox()
    script = "id -u; id -g; id -G; echo $HOME"
    shown = (await world.output(sandbox, script, image="users:1"))[1].splitlines()
    assert shown == ["500", "600", "600 700", "/home/app"]
    strict = SecurityContext(supplemental_groups=(9,), supplemental_groups_policy="Strict")
    shown = (await world.output(sandbox, script, image="users:1", security=strict))[1]
    assert shown.splitlines()[2] == "600 9"
    made = await world.create(sandbox, "true", image="users:1", name="told")
    assert (await world.runtime.container(made)).user == (500, 600, (600, 700))
    await world.restart()
    assert (await world.runtime.container(made)).user == (500, 600, (600, 700))
    unknown = SecurityContext(run_as_username="nobody-there")
    with pytest.raises(CreateContainerError, match="no matching entries"):
        await world.create(sandbox, "true", image="users:1", security=unknown)


async def test_seccomp_is_on_by_default(world: World) -> None:
    assert await _status(world, "Seccomp") == "2"
    sandbox = await world.sandbox()
    code, text = await world.output(sandbox, "unshare -U true 2>&1; mount -t tmpfs x /mnt 2>&1")
    assert code != 0
    assert text.count("Operation not permitted") + text.count("permission denied") == 2, text
    open_ = SecurityContext(seccomp="unconfined")
    assert await _status(world, "Seccomp", security=open_) == "0"


async def test_a_seccomp_profile_of_the_nodes(world: World) -> None:
    profile = world.base / "profile.json"
    profile.write_text(
        json.dumps(
            {
                "defaultAction": "SCMP_ACT_ALLOW",
                "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO"}],
            }
        )
    )
    security = SecurityContext(seccomp=f"localhost/{profile}")
    sandbox = await world.sandbox()
    assert (await world.output(sandbox, "mkdir /x; [ ! -e /x ]", security=security))[0] == 0
    missing = SecurityContext(seccomp="localhost/no/such/profile")
    with pytest.raises(CreateContainerError, match="cannot load seccomp profile"):
        await world.create(sandbox, "true", security=missing)


async def test_no_new_privileges(world: World) -> None:
    assert await _status(world, "NoNewPrivs") == "0"
    security = SecurityContext(no_new_privs=True)
    assert await _status(world, "NoNewPrivs", security=security) == "1"


async def test_a_readonly_root(world: World) -> None:
    sandbox = await world.sandbox()
    script = "touch /tmp/x 2>&1; touch /data/y && echo fine"
    data = world.base / "data"
    data.mkdir()
    _, text = await world.output(
        sandbox,
        script,
        security=SecurityContext(readonly_rootfs=True),
        mounts=(Mount("/data", data),),
    )
    assert "Read-only file system" in text
    assert text.endswith("fine")
    assert (data / "y").exists()


async def test_an_images_volume_is_writable_in_a_readonly_root(world: World) -> None:
    files = {"data": make_folder(0o750, uid=12), "data/there": "content"}
    built = build_busybox_image(world.base / "v.tar", "volume:1", files, volumes=("/data",))
    await world.images.import_archive(built.path)
    sandbox = await world.sandbox()
    code, text = await world.output(
        sandbox,
        "cat /data/there; echo; stat -c '%a %u' /data; echo x > /data/new && echo fine",
        image="volume:1",
        security=SecurityContext(readonly_rootfs=True),
    )
    assert (code, text.splitlines()) == (0, ["content", "750 12", "fine"])


async def test_kernel_files_are_masked_unless_privileged(world: World) -> None:
    sandbox = await world.sandbox()
    script = (
        "wc -c < /proc/timer_list; (echo 1 > /proc/sys/kernel/shmmax) 2>&1;"
        " grep -c ' /sys .*ro,' /proc/self/mounts; ls /dev | wc -l"
    )
    plain = (await world.output(sandbox, script))[1].splitlines()
    assert plain[0] == "0"
    assert "Read-only file system" in plain[1]
    assert plain[2] == "1"
    privileged = SecurityContext(privileged=True)
    loose = (await world.output(sandbox, script, security=privileged))[1].splitlines()
    assert int(loose[0]) > 0
    assert loose[-2] == "0"
    assert int(loose[-1]) > int(plain[-1])
    assert await _status(world, "Seccomp", security=privileged) == "0"


async def test_mounts_at_any_depth_and_readonly(world: World) -> None:
    outer, inner = world.base / "outer", world.base / "inner"
    for folder in (outer, inner):
        folder.mkdir()
    (outer / "file").write_text("outer\n")
    (inner / "file").write_text("inner\n")
    mounts = (Mount("/m/deep/inner", inner, readonly=True), Mount("/m", outer))
    sandbox = await world.sandbox()
    script = "cat /m/file /m/deep/inner/file; touch /m/deep/inner/x 2>&1"
    _, text = await world.output(sandbox, script, mounts=mounts)
    assert text.splitlines()[:2] == ["outer", "inner"]
    assert "Read-only file system" in text


@pytest.mark.parametrize("layers", [0, 1, 2])
async def test_an_image_is_mounted_as_a_volume(world: World, layers: int) -> None:
    """All of it or a part; never writable; in use as long as the container is there."""
    contents: list[dict[str, FileLike]] = [
        {"a/file": "lower\n", "way": make_link("/a")},
        {"a/file": "upper\n"},
    ]
    built = build_image(world.base / "data.tar", "data:1", layers=contents[:layers])
    (image,) = await world.images.import_archive(built.path)
    sandbox = await world.sandbox()
    parts = ("", "a", "way")[: 3 if layers else 1]
    mounts = tuple(
        Mount(f"/m{number}", Path(), image=image.id, image_sub_path=part)
        for number, part in enumerate(parts)
    )
    script = "cat /m0/a/file /m1/file /m2/file 2>/dev/null; ls /m0; touch /m0/x 2>&1"
    container = await world.run(sandbox, "sh", "-c", script, mounts=mounts)
    await world.wait_ended(container)
    lines = [line.split(" ", 3)[3] for line in world.log().splitlines()]
    word = ["", "lower", "upper"][layers]
    assert lines[:-1] == ([word] * 3 + ["a", "way"] if layers else [])
    assert "Read-only file system" in lines[-1]
    with pytest.raises(ImageInUseError):
        await world.images.remove_image("data:1")
    await world.runtime.remove_container(container)
    await world.images.remove_image("data:1")


async def test_a_part_an_image_has_not_is_refused(world: World) -> None:
    sandbox = await world.sandbox()
    image = await world.images.image("busybox")
    assert image is not None
    mount = Mount("/m", Path(), image=image.id, image_sub_path="../no-such")
    with pytest.raises(CreateContainerError, match="no-such"):
        await world.create(sandbox, "true", mounts=(mount,))


async def test_devices_are_given_one_by_one(world: World) -> None:
    sandbox = await world.sandbox()
    device = Device("/dev/other-null", Path("/dev/null"), "rw")
    code, text = await world.output(
        sandbox, "echo x > /dev/other-null && stat -c '%t %T' /dev/other-null", devices=(device,)
    )
    assert (code, text) == (0, "1 3")
    with pytest.raises(CreateContainerError, match="No such file"):
        missing = Device("/dev/x", Path("/dev/no-such-device"))
        await world.create(sandbox, "true", devices=(missing,))


async def test_environment_command_and_folder(world: World) -> None:
    built = build_busybox_image(
        world.base / "e.tar",
        "env:1",
        entrypoint=("sh", "-c"),
        cmd=("echo image",),
        env={"PATH": "/bin", "A": "image", "B": "image"},
        working_dir="/made/for/it",
    )
    await world.images.import_archive(built.path)
    sandbox = await world.sandbox()
    args = ("echo $A $B $HOSTNAME; pwd",)
    container_id = await world.create(
        sandbox, image="env:1", args=args, envs=(("B", "own"), ("B", "last"))
    )
    await world.runtime.start_container(container_id)
    await world.wait_ended(container_id)
    shown = [line.split(" ", 3)[3] for line in world.log().splitlines()]
    assert shown == ["image last pod-host", "/made/for/it"]


async def test_name_resolution_files(world: World) -> None:
    dns = DnsConfig(("10.0.0.1",), ("a.test", "b.test"), ("ndots:5",))
    sandbox = await world.sandbox(dns=dns)
    _, text = await world.output(sandbox, "cat /etc/resolv.conf /etc/hostname")
    assert text.splitlines() == [
        "search a.test b.test",
        "nameserver 10.0.0.1",
        "options ndots:5",
        "pod-host",
    ]


async def test_sysctls_belong_to_the_sandbox(world: World) -> None:
    path = Path("/proc/sys/net/core/somaxconn")
    before = path.read_text()
    sandbox = await world.sandbox(sysctls={"net.core.somaxconn": "77", "kernel.shmmni": "99"})
    script = "cat /proc/sys/net/core/somaxconn /proc/sys/kernel/shmmni"
    assert (await world.output(sandbox, script))[1] == "77\n99"
    assert path.read_text() == before


async def test_a_lower_oom_score_than_allowed_is_clamped(world: World) -> None:
    sandbox = await world.sandbox()
    for wanted, fits in ((-998, lambda n: n <= 0), (500, lambda n: n == 500)):
        code, text = await world.output(
            sandbox, "cat /proc/self/oom_score_adj", resources=Resources(oom_score_adj=wanted)
        )
        assert code == 0
        assert fits(int(text))
