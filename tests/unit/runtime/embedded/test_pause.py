import os
import signal
import struct
import subprocess
from pathlib import Path

import pytest

from kutter.linux.process import read_stat
from kutter.runtime.cri import CreateContainerError
from kutter.runtime.embedded.pause import render_program


@pytest.mark.parametrize(("machine", "number"), [("x86_64", 62), ("aarch64", 183)])
def test_is_a_static_program_whose_data_follows_its_code(machine, number):
    program = render_program(machine)
    assert program[:4] == b"\x7fELF"
    assert struct.unpack_from("<H", program, 18) == (number,)
    entry = struct.unpack_from("<Q", program, 24)[0]
    assert entry == 0x400000 + 120
    assert struct.unpack("<QQQQ", program[-32:]) == (1, 0, 0, 0)
    code = program[120:-32]
    if machine == "x86_64":  # lea rsi, [rip + distance]
        at = code.index(b"\x48\x8d\x35")
        assert at + 7 + struct.unpack_from("<i", code, at + 3)[0] == len(code)
    else:  # adr x1, distance
        word = struct.unpack_from("<I", code, 8)[0]
        assert 8 + ((word >> 5) & 0x7FFFF) * 4 == len(code)


def test_other_machines_are_refused():
    with pytest.raises(CreateContainerError, match="not supported"):
        render_program("mips")


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="runs this machine's program only")
def test_waits_with_children_reaped(tmp_path):
    path = tmp_path / "pause"
    path.write_bytes(render_program())
    path.chmod(0o755)
    child = subprocess.Popen([path])
    try:
        ignored = 1 << (signal.SIGCHLD - 1)
        while True:  # until it has made its one call
            text = Path(f"/proc/{child.pid}/status").read_text()
            fields = dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line)
            if int(fields["SigIgn"], 16) & ignored and fields["State"].startswith("S"):
                break
        assert read_stat(child.pid).state == "S"
    finally:
        child.kill()
        child.wait()
