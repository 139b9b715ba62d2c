"""Which form ``-o`` asks for, and printing objects in it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kutter.cli.command import CommandError, Parser

if TYPE_CHECKING:
    from kutter.api.jsonpath import JSONPath
    from kutter.api.resources import Resource

Tree = dict[str, Any]
FORMS = (
    "json", "yaml", "name", "wide", "jsonpath", "jsonpath-as-json", "jsonpath-file",
    "custom-columns", "custom-columns-file",
)  # fmt: skip


class Output:
    """A parsed ``-o``: ``form`` is empty for the default, ``argument`` is what follows ``=``."""

    def __init__(self, text: str, *, allowed: Sequence[str] = FORMS, template: str = "") -> None:
        form, equals, argument = text.partition("=")
        if not equals and template:
            argument = template
        if form.startswith("go-template") or form == "template":
            raise CommandError(
                "go-template is a language of its own and not supported",
                hint="use -o jsonpath=..., -o custom-columns=... or -o json with jq",
            )
        if form == "jsonpath" and not argument:
            raise CommandError("template format specified but no template given")
        if form and form not in allowed:
            raise CommandError(
                f'unable to match a printer suitable for the output format "{form}",'
                f" allowed formats are: {','.join(sorted(allowed))}"
            )
        self.form = form
        self.argument = argument

    @property
    def is_table(self) -> bool:
        return self.form in ("", "wide")

    def jsonpath(self) -> JSONPath:
        """The template of ``jsonpath`` and ``jsonpath-file``. Raises CommandError."""
        from kutter.api.jsonpath import JSONPath, JSONPathError

        text = self.argument
        if self.form == "jsonpath-file":
            text = read_text(self.argument)
        try:
            return JSONPath(text)
        except JSONPathError as error:
            raise CommandError(f"error parsing jsonpath {text}, {error}") from error


def read_text(path: str) -> str:
    """A file's text. Raises CommandError."""
    try:
        return Path(path).read_text()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", "") or str(error)
        raise CommandError(f"cannot read {path}: {reason}") from error


def add_output_flag(parser: Parser, *, text: str = "json, yaml, name, jsonpath=...") -> None:
    parser.add_argument("-o", "--output", metavar="FORM", default="", help=text)
    parser.add_argument("--template", metavar="TEXT", default="", help="template for jsonpath")
    parser.switch("--show-managed-fields", help="keep managedFields when printing json or yaml")


def without_managed_fields(tree: Tree) -> Tree:
    metadata = tree.get("metadata")
    if isinstance(metadata, dict) and "managedFields" in metadata:
        metadata = {k: v for k, v in metadata.items() if k != "managedFields"}
        return {**tree, "metadata": metadata}
    return tree


def qualified_name(resource: Resource, name: str) -> str:
    """``pod/web``, ``deployment.apps/web``: what commands print after they acted."""
    singular = resource.singular or resource.kind.lower()
    return f"{singular}.{resource.group}/{name}" if resource.group else f"{singular}/{name}"


def print_object(
    output: Output, resource: Resource, tree: Tree, done: str, *, keep_managed: bool = False
) -> None:
    """What a changing command says: ``pod/web created``, or the object in the form asked for."""
    name = qualified_name(resource, (tree.get("metadata") or {}).get("name") or "")
    if not output.form:
        print(f"{name} {done}")
    elif output.form == "name":
        print(name)
    else:
        shown = tree if keep_managed else without_managed_fields(tree)
        sys.stdout.write(render(output, shown))


def render(output: Output, tree: Tree) -> str:
    """A tree in a form that is not a table. Raises CommandError."""
    match output.form:
        case "yaml":
            from kutter.cli.printers.yaml_text import render_yaml

            return render_yaml(tree)
        case "jsonpath" | "jsonpath-file" | "jsonpath-as-json":
            from kutter.api.jsonpath import JSONPathError

            template = output.jsonpath()
            try:
                if output.form == "jsonpath-as-json":
                    from kutter.cli.printers.json_text import render_json

                    return render_json(template.values(tree))
                return template.render(tree)
            except JSONPathError as error:
                raise CommandError(
                    f"error executing jsonpath {output.argument!r}: {error}"
                ) from error
        case "custom-columns" | "custom-columns-file":
            return columns_text(output, [tree])
        case _:
            from kutter.cli.printers.json_text import render_json

            return render_json(tree)


def columns_text(output: Output, objects: Sequence[Tree], *, no_headers: bool = False) -> str:
    from kutter.cli.printers.custom_columns import (
        CustomColumns,
        parse_columns,
        parse_columns_file,
    )

    if output.form == "custom-columns-file":
        columns = parse_columns_file(read_text(output.argument))
    else:
        columns = parse_columns(output.argument)
    lines = CustomColumns(columns, no_headers=no_headers).lines(objects)
    return "".join(line + "\n" for line in lines)


def as_list(objects: Sequence[Tree]) -> Tree:
    """Several objects as one ``List``."""
    return {
        "apiVersion": "v1",
        "kind": "List",
        "metadata": {"resourceVersion": ""},
        "items": list(objects),
    }
