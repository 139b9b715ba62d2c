"""Other people's firewall: a forwarding chain that drops by default drops pods' packets too.

Docker and ufw set such a policy through ``iptables``; an accept in a table of ours does not
overrule a drop in theirs. So where (and only where) that policy is found, two rules that name
our bridge go to the head of their chain, by their own tool, and come out again at purge.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from kutter.linux import nft

_LEGACY_TABLES = Path("/proc/net/ip_tables_names")
_COMMENT = ("-m", "comment", "--comment", "kutter: pods")


async def _iptables(*arguments: str) -> tuple[int, str]:
    try:
        process = await asyncio.create_subprocess_exec(
            "iptables",
            "-w",
            *arguments,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
    except FileNotFoundError:
        return 127, ""
    try:
        async with asyncio.timeout(30):
            output, _ = await process.communicate()
    except BaseException:
        if process.returncode is None:
            process.kill()
            await asyncio.shield(process.wait())
        raise
    return process.returncode or 0, output.decode(errors="replace")


async def _has_table() -> bool:
    """Asking ``iptables`` makes the table, so look without it first."""
    if await nft.list_objects("ip", "filter") is not None:
        return True
    return _has_legacy_table()


def _has_legacy_table() -> bool:
    return _LEGACY_TABLES.exists() and "filter" in _LEGACY_TABLES.read_text().split()


def _rules(bridge: str) -> list[Sequence[str]]:
    return [(side, bridge, *_COMMENT, "-j", "ACCEPT") for side in ("-i", "-o")]


async def open_forwarding(bridge: str) -> bool:
    """Let the bridge's packets pass a foreign drop policy; answers whether that was needed."""
    if not await _has_table():
        return False
    _, listing = await _iptables("-S", "FORWARD")
    if "-P FORWARD DROP" not in listing.splitlines():
        return False
    changed = False
    for rule in _rules(bridge):
        code, _ = await _iptables("-C", "FORWARD", *rule)
        if code == 1:
            await _iptables("-I", "FORWARD", *rule)
            changed = True
    return changed


async def close_forwarding(bridge: str) -> None:
    """Undo :func:`open_forwarding`; safe without it."""
    if not await _has_table():
        return
    for rule in _rules(bridge):
        await _iptables("-D", "FORWARD", *rule)
