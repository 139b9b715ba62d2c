"""Client-side apply: what was applied last stands in an annotation, and the patch from there.

Upstream: https://kubernetes.io/docs/tasks/manage-kubernetes-objects/declarative-config/
"""

from __future__ import annotations

import json
from typing import Any

from kutter.api.patch import PatchError, plan_apply, plan_change
from kutter.api.resources import Resource
from kutter.api.schema import schema_for
from kutter.cli.command import CommandError

Tree = dict[str, Any]
ANNOTATION = "kubectl.kubernetes.io/last-applied-configuration"
MISSING = (
    "Warning: resource {what} is missing the {annotation} annotation which is required by"
    " {program} apply. {program} apply should only be used on resources created declaratively by"
    " either {program} create --save-config or {program} apply. The missing annotation will be"
    " patched automatically."
)


def with_annotation(tree: Tree) -> Tree:
    """The manifest with itself as annotation, which is what apply sends."""
    metadata = tree.get("metadata") or {}
    annotations = {k: v for k, v in (metadata.get("annotations") or {}).items() if k != ANNOTATION}
    plain = {**tree, "metadata": {**metadata, "annotations": annotations}}
    text = json.dumps(plain, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    for character, escape in (("&", "\\u0026"), ("<", "\\u003c"), (">", "\\u003e")):
        text = text.replace(character, escape)
    annotated = {**annotations, ANNOTATION: text + "\n"}
    return {**tree, "metadata": {**metadata, "annotations": annotated}}


def last_applied(current: Tree) -> Tree | None:
    """What was applied last; None when nothing (readable) was."""
    text = ((current.get("metadata") or {}).get("annotations") or {}).get(ANNOTATION)
    if not text:
        return None
    try:
        tree = json.loads(text)
    except ValueError:
        return None
    return tree if isinstance(tree, dict) else None


def patch_to_apply(resource: Resource, current: Tree, modified: Tree) -> tuple[str, Tree]:
    """The patch's kind and body; an empty body when the object is as the manifest says.

    ``modified`` carries its annotation. Raises CommandError.
    """
    schema = schema_for(resource.group, resource.version, resource.kind)
    node = schema.node if schema is not None else None
    try:
        body = plan_apply(node, last_applied(current) or {}, modified, current)
    except PatchError as error:
        raise CommandError(f"cannot work out the change: {error.message}") from error
    return ("strategic" if node is not None else "merge"), body


def patch_to_edit(resource: Resource, before: Tree, after: Tree) -> tuple[str, Tree]:
    """The patch that makes ``before`` into ``after``. Raises CommandError."""
    schema = schema_for(resource.group, resource.version, resource.kind)
    node = schema.node if schema is not None else None
    try:
        body = plan_change(node, before, after)
    except PatchError as error:
        raise CommandError(f"cannot work out the change: {error.message}") from error
    return ("strategic" if node is not None else "merge"), body
