"""``kutter config``: look at and choose contexts of the kubeconfig."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Any

from kutter.cli.command import Command, CommandError, Parser
from kutter.client.kubeconfig import Kubeconfig, KubeconfigError, default_paths, load, save

Tree = dict[str, Any]
_SECRET = ("client-key-data", "password", "token")
_SHORTENED = ("client-certificate-data", "certificate-authority-data")


def _file_flag(parser: Parser) -> None:
    parser.add_argument("--kubeconfig", metavar="FILE", default="", help="this file")


def _load(parsed: argparse.Namespace) -> Kubeconfig:
    try:
        return load(Path(parsed.kubeconfig) if parsed.kubeconfig else None)
    except KubeconfigError as error:
        raise CommandError(str(error)) from error


def _file(parsed: argparse.Namespace) -> Path:
    """The file changes go to: the one given, or the first of $KUBECONFIG that exists."""
    if parsed.kubeconfig:
        return Path(parsed.kubeconfig)
    paths = default_paths(os.environ)
    return next((path for path in paths if path.exists()), paths[-1])


def _load_file(parsed: argparse.Namespace) -> tuple[Kubeconfig, Path]:
    path = _file(parsed)
    try:
        return (load(path) if path.exists() else Kubeconfig()), path
    except KubeconfigError as error:
        raise CommandError(str(error)) from error


def _view_flags(parser: Parser) -> None:
    _file_flag(parser)
    parser.switch("--raw", help="with keys and tokens")
    parser.switch("--minify", help="only the current context")
    parser.add_argument("--context", metavar="NAME", default="", help="with --minify: this context")
    parser.add_argument(
        "-o", "--output", metavar="FORM", default="yaml", help="yaml, json, jsonpath"
    )


def _view(parsed: argparse.Namespace) -> int:
    from kutter.cli.printers.output import Output, render

    config = _load(parsed)
    if parsed.minify:
        config = _minified(config, parsed.context or config.current_context)
    tree = config.to_tree()
    if not parsed.raw:
        for section in ("clusters", "users"):
            for entry in tree[section]:
                _hide(entry[section[:-1]])
    sys.stdout.write(render(Output(parsed.output), tree))
    return 0


def _hide(body: Tree) -> None:
    for key in _SECRET:
        if body.get(key):
            body[key] = "REDACTED"
    for key in _SHORTENED:
        if body.get(key):
            body[key] = "DATA+OMITTED"


def _minified(config: Kubeconfig, name: str) -> Kubeconfig:
    context = _context(config, name)
    cluster, user = context.get("cluster", ""), context.get("user", "")
    return Kubeconfig(
        clusters={k: v for k, v in config.clusters.items() if k == cluster},
        users={k: v for k, v in config.users.items() if k == user},
        contexts={name: context},
        current_context=name,
        rest=config.rest,
    )


def _context(config: Kubeconfig, name: str) -> Tree:
    if not name:
        raise CommandError("current-context is not set", hint="kutter config use-context NAME")
    if name not in config.contexts:
        raise CommandError(
            f'no context exists with the name: "{name}"',
            hint=f"there are: {', '.join(config.contexts) or 'none'}",
        )
    return config.contexts[name]


def _current(parsed: argparse.Namespace) -> int:
    config = _load(parsed)
    if not config.current_context:
        raise CommandError("current-context is not set", hint="kutter config use-context NAME")
    print(config.current_context)
    return 0


def _contexts_flags(parser: Parser) -> None:
    _file_flag(parser)
    parser.add_argument("names", nargs="*", metavar="NAME", help="only these")
    parser.add_argument("-o", "--output", metavar="FORM", default="", choices=("", "name"),
                        help="name")  # fmt: skip
    parser.switch("--no-headers", help="no column headers")


def _contexts(parsed: argparse.Namespace) -> int:
    from kutter.cli.printers.tabs import Tabs

    config = _load(parsed)
    for name in parsed.names:
        _context(config, name)
    names = parsed.names or sorted(config.contexts)
    if parsed.output == "name":
        print("\n".join(names))
        return 0
    rows = [] if parsed.no_headers else [["CURRENT", "NAME", "CLUSTER", "AUTHINFO", "NAMESPACE"]]
    for name in names:
        context = config.contexts[name]
        mark = "*" if name == config.current_context else ""
        rows.append([mark, name, *(context.get(k, "") for k in ("cluster", "user", "namespace"))])
    print("\n".join(Tabs().render(rows)))
    return 0


def _use_flags(parser: Parser) -> None:
    _file_flag(parser)
    parser.add_argument("name", metavar="NAME", help="the context to use from now on")


def _use(parsed: argparse.Namespace) -> int:
    _context(_load(parsed), parsed.name)
    config, path = _load_file(parsed)
    config.current_context = parsed.name
    save(config, path)
    print(f'Switched to context "{parsed.name}".')
    return 0


def _set_flags(parser: Parser) -> None:
    _file_flag(parser)
    parser.add_argument("name", nargs="?", metavar="NAME", default="", help="the context")
    parser.switch("--current", help="the current context")
    for name in ("cluster", "user", "namespace"):
        parser.add_argument(f"--{name}", metavar="NAME", help=f"its {name}")


def _set(parsed: argparse.Namespace) -> int:
    config, path = _load_file(parsed)
    name = config.current_context if parsed.current else parsed.name
    if not name:
        raise CommandError("name a context, or give --current")
    existed = name in config.contexts
    context = config.contexts.setdefault(name, {})
    for key in ("cluster", "user", "namespace"):
        if getattr(parsed, key) is not None:
            context[key] = getattr(parsed, key)
    save(config, path)
    print(f'Context "{name}" {"modified" if existed else "created"}.')
    return 0


_SUBCOMMANDS = (
    Command(
        name="view",
        summary="Print the kubeconfig, without secrets",
        configure=_view_flags,
        run=_view,
        examples=("kutter config view --minify",),
    ),
    Command(
        name="current-context",
        summary="Print the current context's name",
        configure=_file_flag,
        run=_current,
        examples=("kutter config current-context",),
    ),
    Command(
        name="get-contexts",
        summary="List contexts",
        configure=_contexts_flags,
        run=_contexts,
        examples=("kutter config get-contexts",),
    ),
    Command(
        name="use-context",
        summary="Choose the current context",
        configure=_use_flags,
        run=_use,
        examples=("kutter config use-context kutter",),
    ),
    Command(
        name="set-context",
        summary="Change a context",
        configure=_set_flags,
        run=_set,
        examples=("kutter config set-context --current --namespace=team-a",),
    ),
)

COMMAND = Command(
    name="config",
    summary="Look at and choose contexts of the kubeconfig",
    examples=("kutter config get-contexts", "kutter config set-context --current --namespace=a"),
    subcommands={c.name: c for c in _SUBCOMMANDS},
)
