"""The first process of a shared PID namespace: a 240-byte static program we write ourselves.

It ignores SIGCHLD, so the kernel reaps orphans by itself, and sleeps for ever. Nothing has to
be installed, compiled or pulled for it, and it takes one page of memory.
"""

from __future__ import annotations

import json
import platform
import shutil
import struct
from collections.abc import Mapping
from pathlib import Path

from kutter.linux.process import spawn
from kutter.runtime.cri import CreateContainerError
from kutter.runtime.embedded.oci import OciRuntime, clean_message

# rt_sigaction(SIGCHLD, {SIG_IGN}, NULL, 8); for (;;) pause();
_CODE = {
    # mov eax,13; mov edi,17; lea rsi,[rip+act]; xor edx,edx; mov r10d,8; syscall;
    # again: mov eax,34; syscall; jmp again; align; act: handler=1, flags, restorer, mask
    "x86_64": (
        62,
        bytes.fromhex(
            "b80d000000bf11000000488d351900000031d241ba080000000f05b8220000000f05ebf7909090909090"
        )
        + struct.pack("<QQQQ", 1, 0, 0, 0),
    ),
    # mov x8,134; mov x0,17; adr x1,act; mov x2,0; mov x3,8; svc 0;
    # again: mov x8,73; mov x0,0 .. (ppoll(NULL,0,NULL,NULL)); svc 0; b again
    "aarch64": (
        183,
        b"".join(
            struct.pack("<I", word)
            for word in (
                0xD28010C8,  # mov x8, #134 (rt_sigaction)
                0xD2800220,  # mov x0, #17 (SIGCHLD)
                0x10000181,  # adr x1, #48
                0xD2800002,  # mov x2, #0
                0xD2800103,  # mov x3, #8
                0xD4000001,  # svc #0
                0xD2800928,  # again: mov x8, #73 (ppoll)
                0xD2800000,  # mov x0, #0
                0xD2800001,  # mov x1, #0
                0xD2800002,  # mov x2, #0
                0xD2800003,  # mov x3, #0
                0xD4000001,  # svc #0
                0x17FFFFFA,  # b again
                0xD503201F,  # nop
            )
        )
        + struct.pack("<QQQQ", 1, 0, 0, 0),
    ),
}
_BASE = 0x400000
_HEADERS_BYTES = 64 + 56


def render_program(machine: str = platform.machine()) -> bytes:
    """A static ELF executable. Raises CreateContainerError on other machines."""
    if machine not in _CODE:
        raise CreateContainerError(f"shared process namespaces are not supported on {machine}")
    number, code = _CODE[machine]
    size = _HEADERS_BYTES + len(code)
    header = struct.pack(
        "<16sHHIQQQIHHHHHH",
        b"\x7fELF\x02\x01\x01" + bytes(9),
        2,  # executable
        number,
        1,
        _BASE + _HEADERS_BYTES,
        64,
        0,
        0,
        64,
        56,
        1,
        0,
        0,
        0,
    )
    segment = struct.pack("<IIQQQQQQ", 1, 5, 0, _BASE, _BASE, size, size, 0x1000)
    return header + segment + code


def render_pause_spec(
    cgroup: str, namespaces: Mapping[str, str], rootfs: Path
) -> dict[str, object]:
    """The OCI spec of the first process: no rights, nothing mounted but /proc."""
    kinds = [{"type": "mount"}, {"type": "pid"}]
    names = {"net": "network", "ipc": "ipc", "uts": "uts"}
    kinds += [{"type": names[kind], "path": path} for kind, path in namespaces.items()]
    return {
        "ociVersion": "1.0.2",
        "process": {
            "user": {"uid": 65535, "gid": 65535},
            "args": ["/pause"],
            "env": ["PATH=/"],
            "cwd": "/",
            "noNewPrivileges": True,
        },
        "root": {"path": str(rootfs), "readonly": True},
        "mounts": [{"destination": "/proc", "type": "proc", "source": "proc"}],
        "linux": {"namespaces": kinds, "cgroupsPath": cgroup},
    }


async def start_pause(
    runtime: OciRuntime,
    name: str,
    home: Path,
    bundle: Path,
    *,
    cgroup: str,
    namespaces: Mapping[str, str],
) -> int:
    """Start the first process; answers its pid. Raises CreateContainerError."""
    _write_bundle(home, bundle, cgroup, namespaces)
    pid_file, log = bundle / "pid", bundle / "log"
    shutil.rmtree(runtime.state_folder(name), ignore_errors=True)
    command = runtime.command(
        f"--log={log}", "run", "--detach", f"--bundle={bundle}", f"--pid-file={pid_file}", name
    )
    if await spawn(command, new_session=True).wait() != 0:
        text = log.read_text(errors="replace") if log.exists() else ""
        raise CreateContainerError(clean_message(text))
    return int(pid_file.read_text())


def _write_bundle(home: Path, bundle: Path, cgroup: str, namespaces: Mapping[str, str]) -> None:
    spec = render_pause_spec(cgroup, namespaces, _make_rootfs(home))
    bundle.mkdir(parents=True, exist_ok=True)
    (bundle / "config.json").write_text(json.dumps(spec))


def _make_rootfs(home: Path) -> Path:
    rootfs = home / "rootfs"
    program = rootfs / "pause"
    if not program.exists():
        for folder in ("proc", "dev", "sys"):
            (rootfs / folder).mkdir(parents=True, exist_ok=True)
        fresh = rootfs / ".pause"
        fresh.write_bytes(render_program())
        fresh.chmod(0o755)
        fresh.rename(program)
    return rootfs
