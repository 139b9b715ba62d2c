"""``kutter image``: images on this machine, in the agent's store."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Any

from kutter.cli.agent_socket import ask_agent
from kutter.cli.command import Command, CommandError, Parser
from kutter.cli.printers.tabs import Tabs
from kutter.cli.progress import TransferBar

Tree = dict[str, Any]
_UNITS = ("B", "kB", "MB", "GB", "TB")


def _output_flag(parser: Parser) -> None:
    parser.add_argument("-o", "--output", metavar="FORM", default="", choices=("", "json"),
                        help="json")  # fmt: skip


def _list_flags(parser: Parser) -> None:
    parser.switch("-q", "--quiet", help="print only ids")
    _output_flag(parser)


def _list(parsed: argparse.Namespace) -> int:
    answer = list(ask_agent("GET", "/images"))
    images = answer[-1].get("images", []) if answer else []
    if parsed.output:
        _print_json(images)
        return 0
    if parsed.quiet:
        for image in images:
            print(image["id"])
        return 0
    rows = [["IMAGE", "TAG", "ID", "SIZE"]]
    for image in images:
        for reference in image.get("tags") or ["<none>"]:
            name, tag = split_tag(reference)
            rows.append([name, tag, short_id(image["id"]), size_text(image["sizeBytes"])])
    rows[1:] = sorted(rows[1:])
    print("\n".join(Tabs().render(rows)))
    return 0


def _pull_flags(parser: Parser) -> None:
    parser.add_argument("images", nargs="+", metavar="IMAGE", help="what to fetch")
    parser.add_argument("--username", metavar="NAME", default="", help="user at the registry")
    parser.switch("--password-stdin", help="read the password from standard input")
    parser.switch("-q", "--quiet", help="print nothing but errors")
    _output_flag(parser)


def _pull(parsed: argparse.Namespace) -> int:
    body: Tree = {}
    if parsed.username:
        password = sys.stdin.read().strip() if parsed.password_stdin else ""
        body = {"username": parsed.username, "password": password or os.environ.get(
            "KUTTER_REGISTRY_PASSWORD", "")}  # fmt: skip
        if not body["password"]:
            raise CommandError(
                "no password was given",
                hint="use --password-stdin or set KUTTER_REGISTRY_PASSWORD",
            )
    pulled = []
    for reference in parsed.images:
        pulled += _work("/images/pull", {**body, "reference": reference}, f"Pulling {reference}")
    _report(parsed, pulled, "pulled")
    return 0


def _import_flags(parser: Parser) -> None:
    parser.add_argument("archives", nargs="+", metavar="FILE", help="archive of docker or OCI form")
    parser.add_argument("--tag", metavar="NAME", default="", help="name for an image without one")
    parser.switch("-q", "--quiet", help="print nothing but errors")
    _output_flag(parser)


def _import(parsed: argparse.Namespace) -> int:
    imported = []
    for archive in parsed.archives:
        path = Path(archive).absolute()
        if not path.exists():
            raise CommandError(f'the path "{archive}" does not exist')
        imported += _work(
            "/images/import", {"path": str(path), "tag": parsed.tag}, f"Importing {archive}"
        )
    _report(parsed, imported, "imported")
    return 0


def _remove_flags(parser: Parser) -> None:
    parser.add_argument("images", nargs="+", metavar="IMAGE", help="name or id")
    parser.switch("-q", "--quiet", help="print nothing but errors")
    _output_flag(parser)


def _remove(parsed: argparse.Namespace) -> int:
    removed = []
    for reference in parsed.images:
        removed += _work("/images/remove", {"reference": reference}, f"Removing {reference}")
    _report(parsed, removed, "removed")
    return 0


def _work(path: str, body: Tree, title: str) -> list[Tree]:
    """Run one long call; answers its images. Raises CommandError."""
    images: list[Tree] | None = None
    with TransferBar(title) as bar:
        for line in ask_agent("POST", path, body):
            if "images" in line:
                images = line["images"]
            elif "fetchedBytes" in line:
                bar.show(line["fetchedBytes"], line.get("totalBytes") or 0)
    if images is None:
        raise CommandError("the agent broke off without a result", hint="'kutter logs --of agent'")
    return images


def _report(parsed: argparse.Namespace, images: list[Tree], done: str) -> None:
    if parsed.output:
        _print_json(images)
    elif not parsed.quiet:
        for image in images:
            name = next(iter(image.get("tags") or ()), "") or short_id(image["id"])
            print(f"{name} {done} ({size_text(image['sizeBytes'])})")


def _print_json(images: list[Tree]) -> None:
    from kutter.cli.printers.json_text import render_json

    sys.stdout.write(render_json(images))


def split_tag(reference: str) -> tuple[str, str]:
    """``registry:5000/a/b:1`` → (``registry:5000/a/b``, ``1``)."""
    head, slash, tail = reference.rpartition("/")
    name, colon, tag = tail.partition(":")
    return f"{head}{slash}{name}", tag if colon else "<none>"


def short_id(identity: str) -> str:
    return identity.rpartition(":")[2][:13]


def size_text(size_bytes: int) -> str:
    """``1.21MB``: three digits, thousands."""
    size = float(size_bytes)
    for unit in _UNITS:
        if size < 1000 or unit == _UNITS[-1]:
            return f"{size:.3g}{unit}" if size < 1000 else f"{size:.0f}{unit}"
        size /= 1000
    raise AssertionError("the last unit takes everything")


_SUBCOMMANDS = (
    Command(
        name="ls",
        summary="List images",
        configure=_list_flags,
        run=_list,
        examples=("sudo kutter image ls", "sudo kutter image ls -o json"),
    ),
    Command(
        name="pull",
        summary="Fetch images from a registry",
        configure=_pull_flags,
        run=_pull,
        examples=("sudo kutter image pull nginx:1.27",),
    ),
    Command(
        name="import",
        summary="Take images from archives (docker save, OCI)",
        configure=_import_flags,
        run=_import,
        examples=("sudo kutter image import web.tar", "sudo kutter image import a.tar --tag a:1"),
    ),
    Command(
        name="rm",
        summary="Remove images",
        configure=_remove_flags,
        run=_remove,
        examples=("sudo kutter image rm web:1",),
    ),
)

COMMAND = Command(
    name="image",
    summary="Pull, import, list and remove images on this machine",
    examples=("sudo kutter image import web.tar", "sudo kutter image ls"),
    subcommands={c.name: c for c in _SUBCOMMANDS},
)
