"""What exit codes mean. Pure."""

from __future__ import annotations

from typing import Any

Tree = dict[str, Any]
_SIGNALS = {1: "SIGHUP", 2: "SIGINT", 6: "SIGABRT", 9: "SIGKILL", 11: "SIGSEGV", 13: "SIGPIPE",
            15: "SIGTERM"}  # fmt: skip


def ended_text(ended: Tree) -> str:
    """``exit code 137 (SIGKILL, OOMKilled)``."""
    code = int(ended.get("exitCode") or 0)
    reasons = []
    if code > 128:
        reasons.append(_SIGNALS.get(code - 128, f"signal {code - 128}"))
    elif code == 127:
        reasons.append("command not found")
    elif code == 126:
        reasons.append("command cannot be executed")
    reason = ended.get("reason")
    if reason and reason not in ("Error", "Completed"):
        reasons.append(reason)
    return f"exit code {code}" + (f" ({', '.join(reasons)})" if reasons else "")


def advice(ended: Tree) -> str:
    """What to look at after such an end; empty when nothing special."""
    code = int(ended.get("exitCode") or 0)
    if ended.get("reason") == "OOMKilled":
        return "give it more memory (resources.limits.memory), or find out why it needs so much"
    if code in (126, 127):
        return "check command and args against what is in the image"
    if code == 137:
        return "it was killed: by a failing liveness probe, by its deadline, or by the kernel"
    if code == 0:
        return "it ended with success: a pod that shall run on needs a process that does not end"
    return ""
