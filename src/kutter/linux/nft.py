"""Runs the ``nft`` program: between rule text and the kernel's packet filter.

One call is one transaction: all of the script holds or none of it. A process, not the library,
because its memory (tens of megabytes for thousands of rules) goes back when it ends.
"""

from __future__ import annotations

import asyncio
import json
import os
from typing import Any


class NftError(Exception):
    """``nft`` refused; the message is its own first line."""


async def run_script(script: str, *, timeout_s: float = 60.0) -> None:
    """Apply a script in one transaction. Raises NftError; then nothing has changed."""
    await _run(["-f", "-"], script.encode(), timeout_s)


async def list_objects(family: str, table: str) -> list[dict[str, Any]] | None:
    """What a table holds, without set elements; None when there is no such table."""
    try:
        output = await _run(["-j", "-t", "list", "table", family, table], b"", 60.0)
    except NftError as error:
        if "No such file or directory" in str(error):
            return None
        raise
    return list(json.loads(output)["nftables"])


async def tables_like(start: str) -> list[str]:
    """Names of the tables that begin so, of every family. Raises NftError."""
    output = await _run(["-j", "list", "tables"], b"", 60.0)
    named = [entry.get("table", {}).get("name", "") for entry in json.loads(output)["nftables"]]
    return [name for name in named if name.startswith(start)]


async def delete_table(family: str, table: str) -> None:
    """Remove a table with all it holds; no error when there is none."""
    # Adding first makes the deletion valid in either case.
    await run_script(f"add table {family} {table}\ndelete table {family} {table}\n")


async def _run(arguments: list[str], script: bytes, timeout_s: float) -> bytes:
    # A file, not a pipe: a program that ends before it has read everything breaks no writer.
    source = os.memfd_create("nft-script")
    try:
        os.write(source, script)
        os.lseek(source, 0, os.SEEK_SET)
        process = await asyncio.create_subprocess_exec(
            "nft",
            *arguments,
            stdin=source,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
    except FileNotFoundError as error:
        raise NftError("the program nft is not installed (package nftables)") from error
    finally:
        os.close(source)
    try:
        async with asyncio.timeout(timeout_s):
            output, complaint = await process.communicate()
    except BaseException:
        if process.returncode is None:
            process.kill()
            await asyncio.shield(process.wait())
        raise
    if process.returncode != 0:
        lines = complaint.decode(errors="replace").strip().splitlines()
        raise NftError(" ".join(lines[:3]) if lines else f"nft ended with {process.returncode}")
    return output
