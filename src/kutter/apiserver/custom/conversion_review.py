"""``ConversionReview``: what is sent to a conversion webhook and how its answer is judged. Pure.

Texts are upstream's (``apiextensions-apiserver/pkg/apiserver/conversion``): authors of webhooks
search for them. A webhook may change labels and annotations; all other metadata is ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson

from kutter.api.errors import FieldError
from kutter.apiserver.ports import Tree
from kutter.apiserver.validation.metadata import validate_annotations, validate_labels

GROUP = "apiextensions.k8s.io"
REVIEW_VERSIONS = ("v1", "v1beta1")
_FREE = ("labels", "annotations")


class ReviewError(Exception):
    """The answer is no conversion; says why."""


def choose_version(offered: Sequence[str]) -> str:
    """The first review version of a definition that is spoken here. Raises ReviewError."""
    for version in offered:
        if version in REVIEW_VERSIONS:
            return version
    raise ReviewError("no supported conversion review versions")


def render_review(version: str, uid: str, target: str, objects: Sequence[bytes]) -> bytes:
    """The review that asks for ``objects``, each JSON, in the apiVersion ``target``."""
    head = orjson.dumps(
        {
            "kind": "ConversionReview",
            "apiVersion": f"{GROUP}/{version}",
            "request": {"uid": uid, "desiredAPIVersion": target, "objects": []},
        }
    )
    # Objects are spliced in as they are: they come from the cache's bytes.
    return b"%b%b]}}" % (head.removesuffix(b"]}}"), b",".join(objects))


def read_review(answer: Any, version: str, uid: str) -> list[Any]:
    """The objects a webhook answered with. Raises ReviewError."""
    tree = answer if isinstance(answer, dict) else {}
    response = tree.get("response")
    if version == "v1":
        wanted = f"{GROUP}/v1, Kind=ConversionReview"
        found = f"{tree.get('apiVersion') or ''}, Kind={tree.get('kind') or ''}"
        if found != wanted:
            raise ReviewError(f"expected webhook response of {wanted}, got {found}")
    if not isinstance(response, dict):
        raise ReviewError("no response provided")
    if version == "v1" and response.get("uid") != uid:
        got = response.get("uid") or ""
        raise ReviewError(f'expected response.uid="{uid}", got "{got}"')
    result = response.get("result")
    result = result if isinstance(result, dict) else {}
    if result.get("status") != "Success":
        text = result.get("message")
        status = result.get("status") or ""
        raise ReviewError(str(text or f"response.result.status was '{status}', not 'Success'"))
    objects = response.get("convertedObjects")
    return objects if isinstance(objects, list) else []


def describe(api_version: str, kind: str) -> str:
    """A version and kind as upstream prints them."""
    return f"{api_version}, Kind={kind}"


def check_converted(original: Tree, converted: Any, target: str, *, at: str) -> Tree:
    """A converted object with its metadata restored; may change both. Raises ReviewError.

    ``at`` names the object in texts: empty when it is the only one of its review.
    """
    if not isinstance(converted, dict):
        raise ReviewError(f"returned invalid converted object{at}: it is no object")
    invalid = f"returned invalid converted object{at}" if at else "returned invalid object"
    first = at or " at index 0"
    version, kind = converted.get("apiVersion") or "", converted.get("kind") or ""
    head = f"returned invalid {'converted ' if at else ''}object{first}"
    if version != target:
        raise ReviewError(f"{head}: invalid groupVersion (expected {target}, received {version})")
    if kind != original["kind"]:
        raise ReviewError(f"{head}: invalid kind (expected {original['kind']}, received {kind})")
    metadata = converted.get("metadata")
    theirs = metadata if isinstance(metadata, dict) else {}
    ours: Tree = original.get("metadata") or {}
    for field, shown in (("name", "name"), ("namespace", "namespace"), ("uid", "UID")):
        expected, got = ours.get(field) or "", theirs.get(field) or ""
        if expected != got:
            raise ReviewError(f"{invalid}: must have the same {shown}: {expected} != {got}")
    try:
        converted["metadata"] = _restored(ours, converted)
    except ReviewError as error:
        place = f" in object{at}" if at else ""
        raise ReviewError(f"returned invalid metadata{place}: {error}") from None
    return converted


def _restored(ours: Tree, converted: Tree) -> Tree:
    """Our metadata with the labels and annotations of the converted object."""
    if "metadata" not in converted:
        raise ReviewError("missing metadata in converted object")
    theirs = converted["metadata"]
    if not isinstance(theirs, dict):
        raise ReviewError(f"invalid metadata of type {_go_type(theirs)} in converted object")
    restored = dict(ours)
    for field in _FREE:
        value = theirs.get(field)
        if value is None:
            restored.pop(field, None)
            continue
        if not isinstance(value, dict):
            shown = _go_type(value)
            raise ReviewError(f"invalid metadata.{field} of type {shown} in converted object")
        for key, text in value.items():
            if not isinstance(text, str):
                raise ReviewError(
                    f"metadata.{field}[{key}] must be a string, but is {_go_type(text)} in "
                    "converted object"
                )
        if value != (ours.get(field) or {}) and (errors := _check(field, value)):
            raise ReviewError(_joined(errors))
        restored[field] = value
    return restored


def _check(field: str, value: Tree) -> list[FieldError]:
    if field == "labels":
        return validate_labels(value, "metadata.labels")
    return validate_annotations(value, "metadata.annotation")


def _joined(errors: list[FieldError]) -> str:
    texts = list(dict.fromkeys(str(error) for error in errors))
    return texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]"


def _go_type(value: Any) -> str:
    match value:
        case None:
            return "<nil>"
        case bool():
            return "bool"
        case int():
            return "int64"
        case float():
            return "float64"
        case str():
            return "string"
        case list():
            return "[]interface {}"
    return "map[string]interface {}"
