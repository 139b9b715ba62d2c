"""``kutter wait``: until objects are as they should be."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

from kutter.api.errors import ApiError
from kutter.api.jsonpath import JSONPath, JSONPathError, relaxed, value_text
from kutter.cli import moments
from kutter.cli.command import Command, CommandError, Parser
from kutter.cli.connection import add_connection_flags, open_session
from kutter.cli.failures import Failures
from kutter.cli.fetch import Found, add_selection_flags, selected
from kutter.cli.printers.output import qualified_name
from kutter.cli.references import parse_references
from kutter.cli.removal import Removal, wait_until_gone
from kutter.cli.session import Session

Tree = dict[str, Any]
Test = Callable[[Tree], bool]


def configure(parser: Parser) -> None:
    add_selection_flags(parser)
    parser.add_argument("--for", dest="wanted", metavar="WHAT", action="append", default=[],
                        help="condition=NAME, jsonpath='{.a}'=b, delete, create")  # fmt: skip
    parser.add_argument("--timeout", metavar="TIME", default="30s",
                        help="give up after this long; 0 looks once, -1s waits a week")  # fmt: skip
    parser.add_argument("-o", "--output", metavar="FORM", default="", help="name, json or yaml")
    add_connection_flags(parser)


def run(parsed: argparse.Namespace) -> int:
    if not parsed.wanted:
        raise CommandError("--for is required", hint="--for=condition=Ready")
    limit_s = moments.duration(parsed.timeout, "--timeout")
    if limit_s < 0:
        limit_s = 7 * 86400.0
    session, failures = open_session(parsed), Failures()
    tests: list[Test] = []
    for wanted in parsed.wanted:
        if wanted.lower() in ("delete", "create"):
            continue
        tests.append(parse_wanted(wanted))
    deadline = moments.monotonic() + limit_s
    if any(w.lower() == "create" for w in parsed.wanted):
        _wait_created(session, parsed, deadline)
    if any(w.lower() == "delete" for w in parsed.wanted):
        return _wait_deleted(session, parsed, failures, deadline)
    count = 0
    for found in selected(session, parsed, failures):
        count += 1
        try:
            tree = _wait_for(session, found, tests, deadline)
        except (ApiError, CommandError) as error:
            failures.add(error)
            continue
        _say(parsed, found, tree)
    if not count and not failures.exit_code:
        raise CommandError("no matching resources found")
    return failures.exit_code


def parse_wanted(text: str) -> Test:
    """The test of one ``--for``. Raises CommandError."""
    kind, _, rest = text.partition("=")
    if kind == "condition" and rest:
        name, _, status = rest.partition("=")
        return lambda tree: _has_condition(tree, name, status or "True")
    if kind == "jsonpath" and rest:
        return _path_test(rest)
    raise CommandError(
        f'unrecognized condition: "{text}"',
        hint="use condition=NAME[=VALUE], jsonpath='{PATH}'[=VALUE], delete or create",
    )


def _has_condition(tree: Tree, name: str, wanted: str) -> bool:
    status = tree.get("status") or {}
    generation = tree["metadata"].get("generation", 0)
    for condition in status.get("conditions") or ():
        if str(condition.get("type", "")).lower() != name.lower():
            continue
        seen = condition.get("observedGeneration", status.get("observedGeneration"))
        if seen is not None and generation and seen < generation:
            return False
        return str(condition.get("status", "")).lower() == wanted.lower()
    return False


def _path_test(text: str) -> Test:
    end = text.rfind("}") + 1
    path, wanted = (text[:end], text[end:]) if end else text.partition("=")[::2]
    try:
        template = JSONPath(relaxed(path))
    except JSONPathError as error:
        raise CommandError(f"invalid jsonpath in --for: {error}") from error
    expects = wanted.startswith("=") if end else bool(wanted)
    value = wanted.removeprefix("=").strip("'\"")

    def test(tree: Tree) -> bool:
        try:
            values = template.values(tree)
        except JSONPathError:
            return False
        if not expects:
            return bool(values)
        return any(value_text(v) == value for v in values)

    return test


def _wait_for(session: Session, found: Found, tests: list[Test], deadline: float) -> Tree:
    tree: Tree | None = found.tree
    for _ in moments.until(deadline):
        if tree is not None and all(test(tree) for test in tests):
            return tree
        tree = session.find(found.resource, found.name, found.namespace)
    if tree is not None and all(test(tree) for test in tests):
        return tree
    raise CommandError(
        f"timed out waiting for the condition on {found.resource.plural}/{found.name}"
    )


def _wait_deleted(
    session: Session, parsed: argparse.Namespace, failures: Failures, deadline: float
) -> int:
    for found in _still_there(session, parsed, failures):
        left_s = max(0.001, deadline - moments.monotonic())
        uid = found.tree["metadata"].get("uid", "")
        removal = Removal(found.resource, found.namespace, found.name, uid)
        try:
            wait_until_gone(session, [removal], left_s)
        except CommandError as error:
            failures.add(error)
            continue
        _say(parsed, found, found.tree)
    return failures.exit_code


def _still_there(session: Session, parsed: argparse.Namespace, failures: Failures) -> list[Found]:
    """What is to go; named objects that are gone already count as gone."""
    if parsed.filename or not any(r.names for r in parse_references(parsed.words, session.kinds)):
        return list(selected(session, parsed, failures))
    found = []
    for reference in parse_references(parsed.words, session.kinds):
        for name in reference.names:
            tree = session.find(reference.resource, name)
            namespace = session.namespace_for(reference.resource)
            if tree is not None:
                found.append(Found(reference.resource, namespace, name, tree))
    return found


def _wait_created(session: Session, parsed: argparse.Namespace, deadline: float) -> None:
    for reference in parse_references(parsed.words, session.kinds):
        resource = reference.resource
        for _ in moments.until(deadline):
            if reference.names:
                there = all(session.find(resource, n) is not None for n in reference.names)
            else:
                where = "" if parsed.all_namespaces else session.namespace_for(resource)
                there = bool(session.list(resource, where, selector=parsed.selector))
            if there:
                break
        else:
            name = reference.names[0] if reference.names else ""
            raise CommandError(
                f"timed out waiting for the condition on {resource.plural}/{name}".rstrip("/")
            )


def _say(parsed: argparse.Namespace, found: Found, tree: Tree) -> None:
    name = qualified_name(found.resource, found.name)
    if parsed.output == "name":
        print(name, flush=True)
    elif parsed.output:
        from kutter.cli.printers.output import Output, render

        print(render(Output(parsed.output, allowed=("json", "yaml")), tree), end="", flush=True)
    else:
        print(f"{name} condition met", flush=True)


COMMAND = Command(
    name="wait",
    summary="Wait until objects are as they should be",
    configure=configure,
    run=run,
    examples=(
        "kutter wait --for=condition=Ready pod/web-1 --timeout=60s",
        "kutter wait --for=jsonpath='{.status.phase}'=Running pod -l app=web",
        "kutter wait --for=delete pod/web-1",
    ),
)
