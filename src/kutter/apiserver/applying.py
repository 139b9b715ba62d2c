"""PATCH with ``application/apply-patch+yaml``: server-side apply.

Between the patch verbs and :mod:`kutter.api.apply`. A configuration that cannot be read is 400,
one the schema forbids 500 (as upstream), one others own fields of 409 with the fields.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson

from kutter.api.apply import (
    Conflict,
    ManagedFieldsError,
    Owner,
    OwnerKey,
    Owners,
    conflict_error,
    read_owners,
    render_owners,
)
from kutter.api.apply.elements import ElementError
from kutter.api.apply.named import fields_of
from kutter.api.apply.sets import Path, difference, from_paths, has, intersection
from kutter.api.apply.shapes import Shape
from kutter.api.apply.updater import Updater
from kutter.api.apply.walk import compare, faults
from kutter.api.errors import ApiError, bad_request
from kutter.api.schema.duplicates import count_keys, find_duplicates
from kutter.apiserver.body import (
    check_size,
    describe_doubled,
    doubled_lines,
    json_type,
    load_yaml,
)
from kutter.apiserver.context import Call
from kutter.apiserver.ownership import owns, updater_of, without_place
from kutter.apiserver.ports import Tree
from kutter.base.clock import render_time

LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
_ANNOTATIONS_LIMIT_BYTES = 256 * 1024
_BEFORE_FIRST_APPLY = "before-first-apply"
SCALE = "autoscaling/v1"
REPLICAS: Path = ("f:spec", "f:replicas")


class Application:
    """One apply request: its configuration, ready to be applied as often as races are lost.

    ``convert`` makes the object's configuration of another kind's (Scale), of which just
    ``place`` counts. Raises 400 for a body that is no object.
    """

    def __init__(
        self,
        call: Call,
        *,
        subresource: str = "",
        convert: Callable[[Tree], Tree] | None = None,
        place: Path | None = None,
    ) -> None:
        check_size(call.request.body)
        self._call = call
        self._manager = call.query["fieldManager"]
        self._force = call.query.get("force", "") in ("true", "True", "1", "t", "T", "TRUE")
        self._updater = updater_of(call, subresource)
        self._key = OwnerKey.applier(self._manager, subresource)
        self._place = place
        self._doubled: list[tuple[int, str]] = []
        # Owners through scale have no time, as upstream.
        self._now = render_time(call.now) if place is None else ""
        self._convert = convert
        self._used = False
        self.config = self._read()

    def _read(self) -> Tree:
        config = self._read_body()
        return config if self._convert is None else self._convert(config)

    def _read_body(self) -> Tree:
        try:
            config, self._doubled = _read_config(self._call.request.body)
        except ValueError as error:
            raise bad_request(f"error decoding YAML: {error}") from error
        if config is None:
            return {}
        if not isinstance(config, dict):
            raise bad_request(
                "error decoding YAML: error unmarshaling JSON: while decoding JSON: json: cannot "
                f"unmarshal {json_type(config)} into Go value of type map[string]interface {{}}"
            )
        return config

    def _report_doubled(self) -> None:
        """Keys given twice are looked for when all else was right. Raises 400."""
        doubled, self._doubled = self._doubled, []
        validation = self._call.query.get("fieldValidation", "")
        if not doubled or validation == "Ignore":
            return
        text = f"error converting YAML to JSON: {describe_doubled(doubled_lines(doubled))}"
        if validation == "Strict":
            raise bad_request(f"error strict decoding YAML: {text}")
        self._call.warnings.append(text)

    def check(self) -> None:
        """Kind, version and fields are what this place takes. Raises 400 or 500."""
        resource, config = self._call.served.resource, self.config
        kind, version = str(config.get("kind") or ""), str(config.get("apiVersion") or "")
        group, _, number = version.rpartition("/")
        if (kind, version) != (resource.kind, resource.api_version):
            shown = f"{group}/{number}, Kind={kind}"
            raise bad_request(f"invalid object type: {shown}")
        metadata = config.get("metadata")
        if isinstance(metadata, dict) and metadata.get("managedFields") is not None:
            raise bad_request("metadata.managedFields must be nil")
        check_schema(config, self._updater.shape)

    def apply(self, live: Tree | None) -> Tree:
        """The object to be written, owners included. ``live`` is a tree of the served version.

        Raises 409 with the conflicts. ``live`` is given away, and may be changed with the object.
        """
        if self._used:
            # The object of the attempt before was made of the configuration's parts, and changed.
            told = self._doubled
            self.config, self._doubled = self._read(), told
        self._used = True
        self.check()
        current = live if live is not None else {}
        metadata = dict(current.get("metadata") or {})
        entries = metadata.pop("managedFields", None)
        if live is not None:
            current = {**current, "metadata": metadata}
        try:
            owners = read_owners(orjson.dumps(entries)) if entries else {}
        except ManagedFieldsError as error:
            raise ApiError(500, "", f"failed to decode managed fields: {error}") from error
        try:
            if live is not None:
                owners = self._with_before(owners, current)
            done = self._updater.apply(
                owners, current, self.config, self._key, self._now, force=self._force
            )
            if done.conflicts and self._manager == "kubectl":
                done = self._upgrade(owners, current, done.conflicts)
        except ElementError as error:
            raise ApiError(500, "", f"failed to create typed live object: {error}") from error
        if done.conflicts:
            raise self._conflict(done.conflicts)
        self._report_doubled()
        tree = done.tree if done.tree is not None else current
        if self._manager == "kubectl":
            self._sync_last_applied(tree)
        if not isinstance(tree.get("metadata"), dict):
            tree["metadata"] = {}
        after = done.owners
        if self._place is not None:
            after = without_place(after, self._place)
        if after:
            tree["metadata"]["managedFields"] = render_owners(after)
        return tree

    def _conflict(self, conflicts: list[Conflict]) -> ApiError:
        if self._place is None:
            return conflict_error(conflicts)
        # Told of as the Scale's own field.
        return conflict_error(
            [Conflict(found.owner._replace(api_version=SCALE), REPLICAS) for found in conflicts]
        )

    def _with_before(self, owners: Owners, live: Tree) -> Owners:
        """What nobody was tracked for belongs to who was there before the first apply."""
        if owners and (self._place is None or owns(owners, self._place)):
            return owners
        api_version = self._updater.api_version
        key = OwnerKey.updater(_BEFORE_FIRST_APPLY, api_version, self._key.subresource)
        found = self._updater.create(live, key, self._now)
        if self._place is None or not found:
            return found
        fields = intersection(found[key].fields, from_paths([self._place]))
        return {**owners, key: Owner(api_version, fields)} if fields else owners

    # -- kubectl's client-side apply ------------------------------------------

    def _upgrade(self, owners: Owners, live: Tree, conflicts: list[Conflict]) -> Any:
        """Conflicts over what kubectl itself applied from the client are none."""
        allowed = _last_applied_fields(live, self._updater)
        if allowed is None:
            return self._updater.apply(
                owners, live, self.config, self._key, self._now, force=self._force
            )
        left = [conflict for conflict in conflicts if not has(allowed, conflict.path)]
        done = self._updater.apply(owners, live, self.config, self._key, self._now, force=not left)
        return done._replace(conflicts=left)

    def _sync_last_applied(self, tree: Tree) -> None:
        annotations = (tree.get("metadata") or {}).get("annotations") or {}
        if not annotations.get(LAST_APPLIED):
            return
        config = dict(self.config)
        metadata = dict(config.get("metadata") or {})
        if isinstance(metadata.get("annotations"), dict):
            kept = {k: v for k, v in metadata["annotations"].items() if k != LAST_APPLIED}
            metadata["annotations"] = kept
        config["metadata"] = metadata
        option = orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE
        annotations[LAST_APPLIED] = orjson.dumps(config, option=option).decode()
        size = sum(len(key.encode()) + len(str(text).encode()) for key, text in annotations.items())
        if size > _ANNOTATIONS_LIMIT_BYTES:
            del annotations[LAST_APPLIED]


def check_schema(config: Tree, shape: Shape) -> None:
    """Raises 500 without a reason for what the schema forbids, as upstream."""
    found = faults(config, shape)
    if not found:
        return
    group, _, version = str(config.get("apiVersion") or "").rpartition("/")
    metadata = config.get("metadata")
    named = metadata if isinstance(metadata, dict) else {}
    place = f"{named.get('namespace', '')}/{named.get('name', '')}"
    where = f"{place}; {group}/{version}, Kind={config.get('kind')}"
    text = found[0] if len(found) == 1 else "errors:\n  " + "\n  ".join(found)
    raise ApiError(500, "", f"failed to create typed patch object ({where}): {text}")


def _read_config(body: bytes) -> tuple[Any, list[tuple[int, str]]]:
    # Client libraries send JSON, which YAML takes in, and JSON is read many times faster.
    if body.startswith(b"{"):
        try:
            tree = orjson.loads(body)
        except ValueError:
            return load_yaml(body)
        if not find_duplicates(body, count_keys(tree)):
            return tree, []
    return load_yaml(body)


def _last_applied_fields(live: Tree, updater: Updater) -> Any:
    """The fields client-side apply set and nobody has changed since; None without annotation."""
    text = ((live.get("metadata") or {}).get("annotations") or {}).get(LAST_APPLIED)
    if not text:
        return None
    try:
        applied = orjson.loads(text)
    except ValueError:
        return None
    if not isinstance(applied, dict) or applied.get("apiVersion") != updater.api_version:
        return None
    if faults(applied, updater.shape):
        return None
    fields = fields_of(applied, updater.shape)
    changes = compare(applied, live, updater.shape)
    for changed in changes:
        fields = difference(fields, changed)
    return fields
