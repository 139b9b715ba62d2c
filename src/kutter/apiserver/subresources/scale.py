"""scale: the number of replicas, alike for every workload (``autoscaling/v1 Scale``).

Upstream: https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/horizontal-pod-autoscaler-v1/
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson

from kutter.api.apply.sets import Path
from kutter.api.apply.shapes import shape_of
from kutter.api.errors import (
    FieldError,
    bad_request,
    invalid,
    invalid_object,
    method_not_allowed,
)
from kutter.api.schema import KindSchema, schema_for
from kutter.api.selectors import SelectorError, from_map, from_tree
from kutter.apiserver.answers import answer
from kutter.apiserver.applying import Application, check_schema
from kutter.apiserver.body import check_fields, check_size, content_type_of, parse_tree
from kutter.apiserver.cache import Entry
from kutter.apiserver.context import Call
from kutter.apiserver.encoders import Encoder, PartialEncoder, TableEncoder
from kutter.apiserver.negotiation import Accepted
from kutter.apiserver.ownership import Claim, adopt
from kutter.apiserver.patching import (
    APPLY_PATCH,
    PATCH_TYPES,
    apply_patch,
    parse_patch,
    wrong_patch_type,
)
from kutter.apiserver.ports import CallHandler, Shown, Tree
from kutter.apiserver.printing.registry import SCALE
from kutter.http.messages import Response

SCALABLE = (
    ("apps", "deployments"),
    ("apps", "replicasets"),
    ("apps", "statefulsets"),
    ("", "replicationcontrollers"),
)
_VERSIONS = ("autoscaling/v1", "extensions/v1beta1", "apps/v1beta1", "apps/v1beta2")


def scale_of(tree: Tree) -> Tree:
    """The Scale of a workload."""
    spec, status = tree.get("spec") or {}, tree.get("status") or {}
    selector = _selector_text(spec.get("selector"))
    return scale_tree(tree, spec.get("replicas") or 0, status.get("replicas", 0), selector)


def scale_tree(tree: Tree, wanted: int, current: int, selector: str) -> Tree:
    """A Scale for the object ``tree``."""
    metadata = tree["metadata"]
    kept = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
    scale: Tree = {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {key: metadata[key] for key in kept if key in metadata},
        "spec": {"replicas": wanted} if wanted else {},
        "status": {"replicas": current},
    }
    if selector:
        scale["status"]["selector"] = selector
    return scale


def _selector_text(selector: Tree | None) -> str:
    if not selector:
        return ""
    try:
        if "matchLabels" in selector or "matchExpressions" in selector:
            return str(from_tree(selector))
        return str(from_map(selector))
    except SelectorError:
        return ""


Read = Callable[[Tree], Tree]
Write = Callable[[Tree, int], None]


def _write_replicas(workload: Tree, replicas: int) -> None:
    workload.setdefault("spec", {})["replicas"] = replicas


def scale_handler_of(read: Read, write: Write, show: Read | None = None) -> CallHandler:
    """The handler of a kind whose Scale ``read`` makes and whose replicas ``write`` sets.

    ``show`` makes the one a GET answers, where that may be refused.
    """

    async def handle(call: Call) -> Response:
        if call.info.verb == "get":
            entry = await call.served.storage.read(call.info.namespace, call.info.name)
            return await _answer(call, entry, show or read)
        return await _handle(call, read, write)

    return handle


async def _handle(call: Call, read: Read, write: Write) -> Response:
    """PUT and PATCH an object's Scale."""
    verb, info = call.info.verb, call.info
    storage = call.served.storage
    accepted = call.negotiate(convertible=False)
    if verb == "update":
        context = call.write_context("UpdateOptions", subresource="scale")
        context.claim = Claim(call, "scale", _place(write))
        wanted = parse_tree(call.request, "Scale")
        _check(call, wanted)

        def transform(old: Tree | None) -> Tree:
            assert old is not None, "scaling never creates"
            return _apply(old, wanted, write)

    elif verb == "patch":
        media = content_type_of(call.request)
        if media == APPLY_PATCH:
            return await _apply_scale(call, read, write)
        context = call.write_context("PatchOptions", subresource="scale")
        context.claim = Claim(call, "scale", _place(write))
        if media not in PATCH_TYPES:
            raise wrong_patch_type(call, media)
        check_size(call.request.body)
        change = parse_patch(media, call.request.body)

        def transform(old: Tree | None) -> Tree:
            assert old is not None, "scaling never creates"
            patched = apply_patch(_schema(), media, read(old), change)
            _check(call, patched)
            return _apply(old, patched, write)

    else:
        raise method_not_allowed("")
    context.kind, context.shown = "Scale", _shown(read, write)
    entry, _ = await storage.update(context, info.namespace, info.name, transform)
    assert accepted is not None
    return await _answer(call, entry, read)


def _place(write: Write) -> Path:
    """Where in the workload its replicas are."""
    marked: Tree = {}
    write(marked, 0)
    found: list[str] = []
    below: Any = marked
    while isinstance(below, dict):
        ((key, below),) = below.items()
        found.append("f:" + key)
    return tuple(found)


def _shown(read: Read, write: Write) -> Shown:
    """Webhooks and policies are shown the Scale, and may change its replicas."""

    def absorb(workload: Tree, scale: Tree) -> None:
        write(workload, (scale.get("spec") or {}).get("replicas") or 0)

    return Shown(read, absorb)


async def _apply_scale(call: Call, read: Read, write: Write) -> Response:
    """Server-side apply of a Scale: of the workload's replicas, owned through this place."""

    def convert(scale: Tree) -> Tree:
        return _config(call, scale, write)

    info, served = call.info, call.served
    context = call.write_context("PatchOptions", subresource="scale", apply=True)
    context.claim, context.sees_owners, context.kind = adopt, True, "Scale"
    context.shown = _shown(read, write)
    application = Application(call, subresource="scale", convert=convert, place=_place(write))

    def transform(old: Tree | None) -> Tree:
        assert old is not None, "scaling never creates"
        return served.to_stored(application.apply(served.to_served(old)))

    entry, _ = await served.storage.update(context, info.namespace, info.name, transform)
    return await _answer(call, entry, read)


def _config(call: Call, scale: Tree, write: Write) -> Tree:
    """A workload's configuration from a Scale's."""
    kind, version = scale.get("kind"), str(scale.get("apiVersion") or "")
    if kind != "Scale" or version != _VERSIONS[0]:
        group, _, number = version.rpartition("/")
        raise bad_request(f"invalid object type: {group}/{number}, Kind={kind or ''}")
    schema = _schema()
    check_schema(scale, shape_of(schema.node if schema is not None else None))
    _check(call, scale)
    resource = call.served.resource
    config: Tree = {"apiVersion": resource.api_version, "kind": resource.kind}
    given = scale.get("metadata") or {}
    config["metadata"] = {k: given[k] for k in ("uid", "resourceVersion") if given.get(k)}
    spec = scale.get("spec") or {}
    if "replicas" in spec:
        write(config, spec["replicas"])
    return config


def _schema() -> KindSchema | None:
    return schema_for("autoscaling", "v1", "Scale")


async def _answer(call: Call, entry: Entry, read: Read) -> Response:
    body = orjson.dumps(read(entry.tree))
    accepted = call.negotiate()
    if accepted.form != "object":
        shown = Entry(b"{", body[1:], entry.namespace, entry.name, entry.revision)
        body = _encoder_of(call, accepted).encode(shown)
    return await answer(call, body, accepted)


def _encoder_of(call: Call, accepted: Accepted) -> Encoder:
    """Encodes a Scale as a table's row or by its metadata alone."""
    if accepted.form == "table":
        include = call.query.get("includeObject") or "Metadata"
        return TableEncoder(SCALE, accepted.version, include, call.server.clock.now)
    return PartialEncoder(accepted.version)


def _check(call: Call, scale: Tree) -> None:
    """Raises 400 or 422 for what is no good Scale of this object."""
    if scale.get("kind", "Scale") != "Scale" or scale.get("apiVersion", _VERSIONS[0]) not in (
        _VERSIONS
    ):
        raise bad_request(
            f"the API version in the data ({scale.get('apiVersion')}) does not match the expected "
            f"API version ({_VERSIONS[0]})"
        )
    schema = schema_for("autoscaling", "v1", "Scale")
    check_fields(schema, scale, call.query.get("fieldValidation", ""), None, call.warnings)
    metadata = scale.get("metadata") or {}
    name = metadata.get("name")
    if name != call.info.name:
        raise bad_request(
            f"the name of the object ({name or ''}) does not match the name on the URL "
            f"({call.info.name})"
        )
    errors: list[FieldError] = []
    replicas = (scale.get("spec") or {}).get("replicas", 0)
    if replicas < 0:
        detail = "must be greater than or equal to 0"
        errors.append(invalid("spec.replicas", replicas, detail))
    if errors:
        raise invalid_object("Scale", call.info.name, errors, "autoscaling")


def _apply(workload: Tree, scale: Tree, write: Write) -> Tree:
    metadata = scale.get("metadata") or {}
    for field in ("resourceVersion", "uid"):
        if metadata.get(field):
            workload["metadata"][field] = metadata[field]
    write(workload, (scale.get("spec") or {}).get("replicas", 0))
    return workload


scale_handler = scale_handler_of(scale_of, _write_replicas)
