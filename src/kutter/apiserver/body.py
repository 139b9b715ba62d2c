"""From a request's body to a tree of the expected kind.

Between the wire and the write pipeline: size, content type, syntax, kind and version are
checked here, unknown and doubled fields reported as ``fieldValidation`` asks. Everything wrong
with a body is the caller's fault: 400, 413 or 415, with upstream's texts.
"""

from __future__ import annotations

from typing import Any

import orjson

from kutter.api.errors import ApiError, bad_request, too_large, unsupported_media_type
from kutter.api.json_errors import explain
from kutter.api.protobuf import MEDIA_TYPE as PROTOBUF
from kutter.api.protobuf import ProtobufError, decode_object, unwrap
from kutter.api.resources import Resource
from kutter.api.schema import KindSchema, schema_for
from kutter.apiserver.ports import Tree
from kutter.http.messages import Request

BODY_LIMIT_BYTES = 3 * 1024 * 1024
JSON = "application/json"
YAML = "application/yaml"
_ACCEPTED = [JSON, YAML, PROTOBUF]
_SHOWN_BYTES = 30
GO_TYPE_META = (
    'struct { APIVersion string "json:\\"apiVersion,omitempty\\""; '
    'Kind string "json:\\"kind,omitempty\\"" }'
)
_OPTIONS_SCHEME = '"k8s.io/apimachinery/pkg/apis/meta/internalversion/scheme/register.go:27"'
_SCHEME = '"pkg/api/legacyscheme/scheme.go:30"'


def content_type_of(request: Request) -> str:
    """The media type of the body without parameters, lower case."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def check_size(body: bytes) -> None:
    if len(body) > BODY_LIMIT_BYTES:
        raise too_large(BODY_LIMIT_BYTES)


def parse_tree(
    request: Request,
    kind: str,
    *,
    api_version: str = "",
    protobuf: bool = True,
    doubled: list[str] | None = None,
) -> Tree:
    """The body as a JSON tree, any object. ``protobuf`` tells whether it may be a message;
    ``doubled`` gets a line for each key a YAML document gives twice.
    """
    body = request.body
    check_size(body)
    media = content_type_of(request) or JSON
    if media == JSON:
        # kubectl and curl send YAML under the JSON type now and then; upstream reads it too,
        # it recognizes JSON by its first character.
        tree = _parse_json(body, kind)
    elif media in (YAML, "application/x-yaml", "text/yaml"):
        tree, twice = _parse_yaml(body, kind)
        if twice and doubled is not None:
            doubled += doubled_lines(twice)
    elif media == PROTOBUF and protobuf:
        tree = _parse_protobuf(body, kind, api_version)
    else:
        raise unsupported_media_type(media, _ACCEPTED if protobuf else [JSON, YAML])
    if tree is None and media == JSON and body:
        # As Go's decoder: nothing at all, in the form of an object.
        return {}
    if not isinstance(tree, dict):
        found = json_type(tree)
        detail = f"json: cannot unmarshal {found} into Go value of type {GO_TYPE_META}"
        raise _unrecognized(kind, f"couldn't get version/kind; json parse error: {detail}", body)
    return tree


def _parse_json(body: bytes, kind: str) -> Any:
    try:
        return orjson.loads(body)
    except ValueError as error:
        detail = f"couldn't get version/kind; json parse error: {explain(body) or error}"
        raise _unrecognized(kind, detail, body) from error


def doubled_lines(doubled: list[tuple[int, str]]) -> list[str]:
    """Keys given twice, as upstream's YAML reader complains of each."""
    return [f"line {line}: key {key} already set in map" for line, key in doubled]


def describe_doubled(lines: list[str]) -> str:
    """All complaints as one error."""
    return "\n  ".join(["yaml: unmarshal errors:", *lines])


def _parse_yaml(body: bytes, kind: str) -> tuple[Any, list[tuple[int, str]]]:
    try:
        return load_yaml(body)
    except ValueError as error:
        detail = f"couldn't get version/kind; yaml parse error: {error}"
        raise _unrecognized(kind, detail, body) from error


def load_yaml(body: bytes) -> tuple[Any, list[tuple[int, str]]]:
    """See :func:`kutter.apiserver.yaml_documents.load_yaml`."""
    # Read in with the first document of YAML, or once the server answers: no start has one.
    from kutter.apiserver import yaml_documents

    return yaml_documents.load_yaml(body)


def _parse_protobuf(body: bytes, kind: str, api_version: str) -> Any:
    found_kind = found_version = ""
    try:
        found_version, found_kind, _ = unwrap(body)
        return decode_object(body, api_version=api_version, kind=kind)
    except ProtobufError as error:
        if not found_kind:
            raise _unrecognized(kind, str(error), body) from error
        version = found_version.rpartition("/")[2]
        raise bad_request(
            f'{found_kind} in version "{version}" cannot be handled as a {kind}: {error}'
        ) from error


def json_type(value: Any) -> str:
    """What Go calls the type of a value of JSON."""
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int | float):
        return "number"
    return {str: "string", list: "array", type(None): "null"}.get(type(value), "object")


def _unrecognized(kind: str, detail: str, body: bytes) -> ApiError:
    return bad_request(
        f"the object provided is unrecognized (must be of type {kind}): {detail} ({_shown(body)})"
    )


def _shown(body: bytes) -> str:
    """The beginning of a body: as text if it may be JSON, else in hexadecimal digits."""
    if not body:
        return "<empty>"
    head = body[:_SHOWN_BYTES]
    text = head.decode(errors="replace") if head.startswith(b"{") else head.hex()
    return text + " ..." if len(body) > _SHOWN_BYTES else text


def check_kind(
    tree: Tree, resource: Resource, kind: str, api_version: str, body: bytes = b""
) -> None:
    """Absent kind and apiVersion are filled in; others must be what the path serves.

    ``body``, where the tree was read from, is shown with what makes it no object at all.
    """
    found_kind = tree.get("kind") or kind
    found_version = tree.get("apiVersion") or api_version
    if not isinstance(found_kind, str) or not isinstance(found_version, str):
        name = "kind" if not isinstance(found_kind, str) else "apiVersion"
        value = json_type(tree[name])
        detail = f"cannot unmarshal {value} into Go struct field .{name} of type string"
        raise _unrecognized(
            kind, f"couldn't get version/kind; json parse error: json: {detail}", body
        )
    if found_version.count("/") > 1:
        raise _unrecognized(kind, f"unexpected GroupVersion string: {found_version}", body)
    group, _, version = found_version.rpartition("/")
    registered = (found_kind, found_version) == (kind, api_version) or resource.custom
    if not registered and schema_for(group, version, found_kind) is None:
        raise bad_request(
            f'{found_kind} in version "{version}" cannot be handled as a {kind}: no kind '
            f'"{found_kind}" is registered for version "{found_version}" in scheme {_SCHEME}'
        )
    if found_kind != kind:
        own, theirs = api_version.rpartition("/")[2], _package(resource.group)
        raise bad_request(
            f'{found_kind} in version "{version}" cannot be handled as a {kind}: converting '
            f"({version}.{found_kind}) to ({theirs}.{kind}): unknown conversion"
            if version and own
            else f"{found_kind} cannot be handled as a {kind}"
        )
    if found_version != api_version:
        raise bad_request(
            f"the API version in the data ({found_version}) does not match the expected API "
            f"version ({api_version})"
        )
    tree["kind"], tree["apiVersion"] = kind, api_version


def parse_kind(
    request: Request, kind: str, group: str, version: str, *, warnings: list[str]
) -> Tree:
    """The body as a kind that is not stored (``Binding``, ``DeleteOptions``), types checked.

    Absent kind and apiVersion are filled in. Raises 400.
    """
    tree = parse_tree(request, kind)
    found = tree.get("kind") or kind
    if found != kind:
        sent = str(tree.get("apiVersion") or version)
        theirs = sent.rpartition("/")[2]
        if kind == "DeleteOptions":
            # Decoded by a scheme of its own upstream, which knows no other kinds.
            raise bad_request(
                f'no kind "{found}" is registered for version "{sent}" in scheme {_OPTIONS_SCHEME}'
            )
        raise bad_request(
            f'{found} in version "{theirs}" cannot be handled as a {kind}: converting '
            f"({theirs}.{found}) to ({_package(group)}.{kind}): unknown conversion"
        )
    check_fields(schema_for(group, version, kind), tree, "", None, warnings)
    return tree


def check_fields(
    schema: KindSchema | None,
    tree: Tree,
    validation: str,
    source: bytes | None,
    warnings: list[str],
    *,
    uncounted: int = 0,
    found: list[str] | None = None,
) -> None:
    """Check types and prune what the schema does not know, reporting as asked.

    ``validation`` is ``fieldValidation`` of the query (empty: warn); ``source`` is the JSON text
    the tree was decoded from, if it was, ``uncounted`` how many keys of it are in the tree no
    more; ``found`` has a line for each key given twice in YAML. Raises 400.
    """
    if schema is None:
        return
    if validation == "Strict":
        before = [describe_doubled(found)] if found else ()
        schema.clean_strict(tree, source=source, uncounted=uncounted, found=before)
    elif validation == "Ignore":
        schema.clean(tree)
    else:
        if found:
            warnings += found
        warnings += schema.clean(tree, report=True, source=source, uncounted=uncounted)


def _package(group: str) -> str:
    """The package of a group's internal types."""
    return group.partition(".")[0] or "core"
