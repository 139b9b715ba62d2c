"""The objects a command is about: from names, selectors, or manifests."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from kutter.api.errors import ApiError
from kutter.cli.command import CommandError, Parser
from kutter.cli.references import parse_references

if TYPE_CHECKING:
    from kutter.api.resources import Resource
    from kutter.cli.failures import Failures
    from kutter.cli.session import Session

Tree = dict[str, Any]


class Found(NamedTuple):
    """One object on the server."""

    resource: Resource
    namespace: str
    name: str
    tree: Tree


def add_file_flags(parser: Parser) -> None:
    parser.add_argument("-f", "--filename", metavar="FILE", action="append", default=[],
                        help="file, folder, URL or - for standard input")  # fmt: skip
    parser.switch("-R", "--recursive", help="go into the folders of a folder given with -f")


def add_selection_flags(parser: Parser) -> None:
    """Words, files and selectors that say which objects."""
    parser.add_argument("words", nargs="*", metavar="TYPE[/NAME]", help="what to work on")
    add_file_flags(parser)
    parser.add_argument("-l", "--selector", metavar="LABELS", default="", help="label selector")
    parser.add_argument("--field-selector", metavar="FIELDS", default="", help="field selector")
    parser.switch("--all", help="all objects of the type in the namespace")
    parser.switch("-A", "--all-namespaces", help="in all namespaces")


def selected(
    session: Session,
    parsed: argparse.Namespace,
    failures: Failures,
    *,
    words: Sequence[str] | None = None,
    need_choice: bool = True,
) -> Iterator[Found]:
    """Fetch what the flags of :func:`add_selection_flags` select.

    With ``need_choice`` a bare type is refused: it takes names, ``-l`` or ``--all``.
    """
    given = list(parsed.words if words is None else words)
    if parsed.filename:
        if given:
            raise CommandError("when files are given with -f, no other objects may be named")
        yield from from_files(session, parsed, failures)
        return
    chosen = bool(parsed.selector or parsed.field_selector or parsed.all)
    every_namespace = parsed.all_namespaces
    for reference in parse_references(given, session.kinds):
        resource = reference.resource
        if reference.names:
            if chosen:
                raise CommandError("selectors and --all cannot be used together with names")
            if every_namespace:
                raise CommandError("a resource cannot be retrieved by name across all namespaces")
            namespace = session.namespace_for(resource)
            for name in reference.names:
                try:
                    yield Found(resource, namespace, name, session.get(resource, name))
                except ApiError as error:
                    failures.add(error)
            continue
        if need_choice and not chosen:
            raise CommandError(
                "resource(s) were provided, but no name was specified",
                hint="name objects, or use -l or --all",
            )
        where = "" if every_namespace else session.namespace_for(resource)
        items = session.list(
            resource, where, selector=parsed.selector, fields=parsed.field_selector
        )
        for tree in items:
            fill_kind(tree, resource)
            metadata = tree["metadata"]
            yield Found(resource, metadata.get("namespace", ""), metadata["name"], tree)


def from_files(session: Session, parsed: argparse.Namespace, failures: Failures) -> Iterator[Found]:
    """The server's state of the objects that manifests name."""
    from kutter.cli.documents import read_documents

    for document in read_documents(parsed.filename, recursive=parsed.recursive):
        try:
            resource = resource_for(session, document.tree, document.source)
            namespace = namespace_of(session, resource, document.tree)
            name = document.name
            yield Found(resource, namespace, name, session.get(resource, name, namespace))
        except (ApiError, CommandError) as error:
            failures.add(error)


def resource_for(session: Session, tree: Tree, source: str) -> Resource:
    """The resource of a manifest. Raises CommandError in kubectl's words."""
    api_version, kind = tree["apiVersion"], tree["kind"]
    resource = session.kinds.of_kind(api_version, kind)
    if resource is None:
        name = (tree.get("metadata") or {}).get("name") or ""
        raise CommandError(
            f'resource mapping not found for name: "{name}" namespace:'
            f' "{(tree.get("metadata") or {}).get("namespace") or ""}" from "{source}":'
            f' no matches for kind "{kind}" in version "{api_version}"',
            hint="ensure CRDs are installed first, or see 'kutter api-resources'",
        )
    return resource


def namespace_of(session: Session, resource: Resource, tree: Tree) -> str:
    """A manifest's own namespace, or the session's. Raises CommandError when -n contradicts."""
    if not resource.namespaced:
        return ""
    own = (tree.get("metadata") or {}).get("namespace") or ""
    if own and session.namespace_given and own != session.namespace:
        raise CommandError(
            f'the namespace from the provided object "{own}" does not match the namespace'
            f" \"{session.namespace}\". You must pass '--namespace={own}'"
            " to perform this operation."
        )
    return own or session.namespace


def fill_kind(tree: Tree, resource: Resource) -> Tree:
    """Items of lists come without kind and version; give them theirs."""
    tree.setdefault("kind", resource.kind)
    tree.setdefault("apiVersion", resource.api_version)
    return tree
