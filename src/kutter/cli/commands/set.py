"""``kutter set image|env|resources``: common changes of pod templates."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

from kutter.api.errors import ApiError
from kutter.cli.changing import Change, add_change_flags
from kutter.cli.command import Command, CommandError, Parser
from kutter.cli.connection import add_connection_flags, open_session
from kutter.cli.failures import Failures
from kutter.cli.fetch import Found, add_selection_flags, selected
from kutter.cli.generators.pairs import parse_pairs

Tree = dict[str, Any]
Edit = Callable[[Found], list[Tree]]


def pod_spec_path(found: Found) -> tuple[str, Tree]:
    """Where in an object its pod spec is, as JSON pointer, and the spec. Raises CommandError."""
    spec = found.tree.get("spec") or {}
    if found.resource.plural == "pods":
        return "/spec", spec
    if found.resource.plural == "cronjobs":
        inner = ((spec.get("jobTemplate") or {}).get("spec") or {}).get("template") or {}
        return "/spec/jobTemplate/spec/template/spec", inner.get("spec") or {}
    template = spec.get("template") or {}
    if "spec" not in template:
        raise CommandError(f"{found.resource.plural}/{found.name} has no pod template")
    return "/spec/template/spec", template["spec"]


def _containers(found: Found) -> list[tuple[str, Tree]]:
    base, spec = pod_spec_path(found)
    return [
        (f"{base}/{field}/{index}", container)
        for field in ("initContainers", "containers")
        for index, container in enumerate(spec.get(field) or ())
    ]


def _run(parsed: argparse.Namespace, objects: list[str], done: str, edit: Edit) -> int:
    session, change, failures = open_session(parsed), Change(parsed), Failures()
    for found in selected(session, parsed, failures, words=objects):
        try:
            operations = edit(found)
            if not operations:
                continue
            tree = found.tree
            if not change.client_only:
                # The test makes sure that the container meant is still at its place.
                tree = session.patch(
                    found.resource,
                    found.name,
                    operations,
                    found.namespace,
                    kind="json",
                    query=change.query,
                )
            change.say(found.resource, tree, done)
        except (ApiError, CommandError) as error:
            failures.add(error)
    return failures.exit_code


def _split(words: list[str]) -> tuple[list[str], list[str]]:
    """Objects and changes: a change has ``=``, or ends in ``-``."""
    objects = [w for w in words if "=" not in w and not (w.endswith("-") and len(w) > 1)]
    return objects, [w for w in words if w not in objects]


def _flags(parser: Parser) -> None:
    add_selection_flags(parser)
    add_change_flags(parser, manager="kubectl-set")
    add_connection_flags(parser)


def _value(path: str, name: str, field: str, value: Any) -> list[Tree]:
    return [
        {"op": "test", "path": f"{path}/name", "value": name},
        {"op": "add", "path": f"{path}/{field}", "value": value},
    ]


def _image(parsed: argparse.Namespace) -> int:
    objects, changes = _split(parsed.words)
    if not changes:
        raise CommandError("at least one image update is required", hint="CONTAINER=IMAGE")
    images = parse_pairs(changes, "image")

    def edit(found: Found) -> list[Tree]:
        containers = _containers(found)
        names = {container["name"] for _, container in containers}
        for name in images:
            if name != "*" and name not in names:
                raise CommandError(
                    f'unable to find container named "{name}"',
                    hint=f"its containers are {', '.join(sorted(names))}",
                )
        operations: list[Tree] = []
        for path, container in containers:
            image = images.get(container["name"], images.get("*", ""))
            if image and image != container.get("image"):
                operations += _value(path, container["name"], "image", image)
        return operations

    return _run(parsed, objects, "image updated", edit)


def _env_flags(parser: Parser) -> None:
    _flags(parser)
    parser.add_argument("-c", "--containers", metavar="NAME", default="*", help="of this container")
    parser.switch("--list", help="show the environment")


def _env(parsed: argparse.Namespace) -> int:
    objects, changes = _split(parsed.words)
    setting = {w.partition("=")[0]: w.partition("=")[2] for w in changes if "=" in w}
    removing = {w[:-1] for w in changes if "=" not in w}
    if not changes and not parsed.list:
        raise CommandError("at least one environment variable must be provided", hint="NAME=VALUE")

    def edit(found: Found) -> list[Tree]:
        operations: list[Tree] = []
        for path, container in _containers(found):
            if parsed.containers not in ("*", container["name"]):
                continue
            env = list(container.get("env") or ())
            if parsed.list:
                _print_env(found, container)
                continue
            new = [e for e in env if e["name"] not in removing]
            new = [
                {"name": e["name"], "value": setting[e["name"]]} if e["name"] in setting else e
                for e in new
            ]
            present = {e["name"] for e in new}
            new += [{"name": n, "value": v} for n, v in setting.items() if n not in present]
            if new != env:
                operations += _value(path, container["name"], "env", new)
        return operations

    return _run(parsed, objects, "env updated", edit)


def _print_env(found: Found, container: Tree) -> None:
    print(f"# {found.resource.plural} {found.name}, container {container['name']}")
    for entry in container.get("env") or ():
        source = entry.get("valueFrom")
        shown = f"{entry['name']}={entry.get('value', '')}"
        if source:
            shown = f"# {entry['name']} from {next(iter(source))}"
        print(shown)


def _resources_flags(parser: Parser) -> None:
    _flags(parser)
    parser.add_argument("-c", "--containers", metavar="NAME", default="*", help="of this container")
    parser.add_argument("--limits", metavar="cpu=1,memory=1Gi", default="", help="at most")
    parser.add_argument("--requests", metavar="cpu=1,memory=1Gi", default="", help="at least")


def _resources(parsed: argparse.Namespace) -> int:
    wanted: dict[str, dict[str, str]] = {}
    for field in ("limits", "requests"):
        if getattr(parsed, field):
            wanted[field] = parse_pairs([getattr(parsed, field)], field)
    if not wanted:
        raise CommandError("you must specify an update to requests or limits (in the form of"
                           " --requests/--limits)")  # fmt: skip

    def edit(found: Found) -> list[Tree]:
        operations: list[Tree] = []
        for path, container in _containers(found):
            if parsed.containers not in ("*", container["name"]):
                continue
            before = container.get("resources") or {}
            after = {**before}
            for field, amounts in wanted.items():
                kept = dict((before.get(field) or {}).items())
                kept |= amounts
                after[field] = {k: v for k, v in kept.items() if v not in ("0", "")}
            if after != before:
                operations += _value(path, container["name"], "resources", after)
        return operations

    return _run(parsed, list(parsed.words), "resource requirements updated", edit)


_SUBCOMMANDS = (
    Command(
        name="image",
        summary="Change the image of containers",
        configure=_flags,
        run=_image,
        examples=(
            "kutter set image deployment/web app=nginx:1.27",
            "kutter set image deployments --all '*=nginx:1.27'",
        ),
    ),
    Command(
        name="env",
        summary="Change environment variables",
        configure=_env_flags,
        run=_env,
        examples=("kutter set env deployment/web LOG=debug OLD-",),
    ),
    Command(
        name="resources",
        summary="Change requests and limits",
        configure=_resources_flags,
        run=_resources,
        examples=("kutter set resources deployment/web --limits=cpu=500m,memory=256Mi",),
    ),
)

COMMAND = Command(
    name="set",
    summary="Change image, environment or resources",
    examples=("kutter set image deployment/web app=nginx:1.27",),
    subcommands={c.name: c for c in _SUBCOMMANDS},
)
