from kutter.linux.seccomp import render_default_profile


def _allowed(profile, name):
    return [r for r in profile["syscalls"] if name in r["names"] and r["action"].endswith("ALLOW")]


def test_what_is_not_named_is_refused():
    profile = render_default_profile((), "x86_64")
    assert profile["defaultAction"] == "SCMP_ACT_ERRNO"
    for name in ("mount", "unshare", "setns", "bpf", "kexec_load", "keyctl", "io_uring_setup"):
        assert not _allowed(profile, name), name
    for name in ("read", "openat", "execve", "futex", "clone", "socket", "arch_prctl"):
        assert _allowed(profile, name), name


def test_clone_without_namespaces_only():
    profile = render_default_profile((), "x86_64")
    (rule,) = _allowed(profile, "clone")
    assert rule["args"][0]["value"] == 0x7E020000
    refused = [r for r in profile["syscalls"] if r["names"] == ["clone3"]]
    assert refused[0]["errnoRet"] == 38


def test_capabilities_open_what_they_are_for():
    profile = render_default_profile(("CAP_SYS_ADMIN", "CAP_SYS_TIME"), "x86_64")
    for name in ("mount", "unshare", "clone3", "settimeofday"):
        assert any("args" not in rule for rule in _allowed(profile, name)), name
    assert not _allowed(profile, "reboot")


def test_architectures():
    assert "SCMP_ARCH_AARCH64" in render_default_profile((), "aarch64")["architectures"]
    assert not _allowed(render_default_profile((), "aarch64"), "arch_prctl")
