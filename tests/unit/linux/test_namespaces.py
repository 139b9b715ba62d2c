from pathlib import Path

import pytest

from kutter.linux.namespaces import sysctl_path

_ALL = ("net", "ipc", "uts")


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("net.core.somaxconn", "net/core/somaxconn"),
        ("net/ipv4/conf/eth0.1/forwarding", "net/ipv4/conf/eth0.1/forwarding"),
        ("net.ipv4.conf.eth0/1.forwarding", "net/ipv4/conf/eth0.1/forwarding"),
        ("kernel.shmmni", "kernel/shmmni"),
        ("fs.mqueue.msg_max", "fs/mqueue/msg_max"),
    ],
)
def test_names_as_sysctl_writes_them(name, path):
    assert sysctl_path(name, _ALL) == Path("/proc/sys") / path


@pytest.mark.parametrize(
    "name",
    [
        "vm.swappiness",
        "kernel.panic",
        "kernel.hostname",
        "net.//.kernel.panic",
        "net/../kernel/panic",
        "/etc/passwd",
        "",
        "kernel.sem/x",
    ],
)
def test_sysctls_of_the_machine_are_refused(name):
    with pytest.raises(ValueError, match="does not belong"):
        sysctl_path(name, _ALL)


def test_only_namespaces_that_are_ours():
    with pytest.raises(ValueError, match="does not belong"):
        sysctl_path("net.core.somaxconn", ("ipc",))
    with pytest.raises(ValueError, match="does not belong"):
        sysctl_path("kernel.sem", ("net", "uts"))
