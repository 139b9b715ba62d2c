"""What a write carries along, and the options of writes as upstream reads them.

Between the verbs (query, body) and storage. Options come from the query or, for deletes, from
the body; both end up as one tree that admission sees.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

import msgspec

from kutter.api.errors import (
    ApiError,
    FieldError,
    bad_request,
    forbidden_field,
    invalid,
    invalid_object,
    not_supported,
    required,
)
from kutter.api.resources import Resource
from kutter.apiserver.authn.identity import User
from kutter.apiserver.known_specs import SentSpec
from kutter.apiserver.ports import Annotate, Shown, Tree

if TYPE_CHECKING:
    from kutter.apiserver.storage.foretold import Forecast

_POLICIES = ("Background", "Foreground", "Orphan")
_VALIDATIONS = ("Ignore", "Strict", "Warn")
_MANAGER_LIMIT = 128


Claim = Callable[[Tree | None, Tree, Any, bytes], bytes]
"""From the old object (None: absent), the new one, the ``managedFields`` it was sent with and the
stored ones to those to store (:mod:`kutter.apiserver.ownership`)."""


class WriteContext(msgspec.Struct):
    """One write: by whom, when, with which options. ``warnings`` is the request's list.

    ``claim`` is None for what the server itself writes: owners stay as they are. With
    ``sees_owners`` the transformation gets an object whose ``managedFields`` are decoded, with
    ``holds_owners`` one where they are there as they are stored.
    ``requested`` is the resource as the client named it, None for what the server writes;
    ``shown`` is how webhooks and policies see a subresource's own kind. ``admitted``: admission has
    been asked already, about what leads to this deletion. ``spec``: of a new object's body, if it
    can be remembered; once it is known, the object has it cleaned and defaulted. ``forecast``: who
    learns of this write what the next like it will come to, and records what is read meanwhile.
    ``patches``: the transformation copies what it changes, and changes nothing else. ``settled``:
    set by storage for each attempt, see :mod:`kutter.apiserver.settled`.
    """

    user: User
    now: datetime
    options: Tree = msgspec.field(default_factory=dict)
    warnings: list[str] = msgspec.field(default_factory=list)
    dry_run: bool = False
    subresource: str = ""
    kind: str = ""
    claim: Claim | None = None
    sees_owners: bool = False
    holds_owners: bool = False
    annotate: Annotate | None = None
    requested: Resource | None = None
    shown: Shown | None = None
    admitted: bool = False
    spec: SentSpec | None = None
    forecast: Forecast | None = None
    patches: bool = False
    settled: bytes | None = None


class DeleteOptions(msgspec.Struct):
    """``metav1.DeleteOptions``, read and checked."""

    grace_period_s: int | None = None
    uid: str = ""
    resource_version: str = ""
    orphan_dependents: bool | None = None
    propagation_policy: str = ""
    dry_run: bool = False


def invalid_options(kind: str, errors: list[FieldError]) -> ApiError:
    return invalid_object(kind, "", errors, "meta.k8s.io")


def _check_dry_run(values: list[str], errors: list[FieldError]) -> bool:
    wrong = [value for value in values if value != "All"]
    if wrong:
        errors.append(not_supported("dryRun", values, ["All"]))
    return bool(values) and not wrong


def read_write_options(
    kind: str,
    query: Mapping[str, str],
    dry_run: list[str],
    *,
    force: str = "",
    apply: bool = False,
) -> tuple[Tree, bool]:
    """Create-, Update- or PatchOptions from the query, and whether it is a dry run.

    ``apply``: of a server-side apply, which needs a manager and may be forced.

    Raises 422 naming the option, as upstream's ``Validate*Options``.
    """
    options: Tree = {"kind": kind, "apiVersion": "meta.k8s.io/v1"}
    if not query and not apply:
        return options, False
    errors: list[FieldError] = []
    manager = query.get("fieldManager", "")
    if apply and not manager:
        errors.append(required("fieldManager", "is required for apply patch"))
    elif force and not apply:
        errors.append(forbidden_field("force", "may not be specified for non-apply patch"))
    dry = _check_dry_run(dry_run, errors)
    if dry_run:
        options["dryRun"] = dry_run
    if manager:
        options["fieldManager"] = manager
        if len(manager) > _MANAGER_LIMIT:
            detail = f"may not be more than {_MANAGER_LIMIT} bytes"
            errors.append(FieldError("fieldManager", "FieldValueTooLong", f"Too long: {detail}"))
        elif not manager.isprintable():
            at, odd = next((i, c) for i, c in enumerate(manager) if not c.isprintable())
            detail = f"invalid character U+{ord(odd):04X} (at position {at})"
            errors.append(invalid("fieldManager", manager, detail))
    validation = query.get("fieldValidation", "")
    if validation:
        options["fieldValidation"] = validation
        if validation not in _VALIDATIONS:
            errors.append(not_supported("fieldValidation", validation, ["", *_VALIDATIONS]))
    if force:
        options["force"] = force == "true"
    if errors:
        raise invalid_options(kind, errors)
    return options, dry


def read_delete_options(tree: Tree, query: Mapping[str, str], dry_run: list[str]) -> DeleteOptions:
    """DeleteOptions from the body (its types checked by the schema) or else from the query."""
    source: Mapping[str, Any] = tree or _from_query(query, dry_run)
    options = _convert(source)
    errors: list[FieldError] = []
    policy = options.propagation_policy
    if options.orphan_dependents is not None and policy:
        errors.append(
            invalid(
                "propagationPolicy",
                policy,
                "orphanDependents and deletionPropagation cannot be both set",
            )
        )
    if policy and policy not in _POLICIES:
        supported = ["Foreground", "Background", "Orphan", "nil"]
        errors.append(not_supported("propagationPolicy", policy, supported))
    options.dry_run = _check_dry_run(list(source.get("dryRun") or ()), errors)
    if errors:
        raise invalid_options("DeleteOptions", errors)
    if options.grace_period_s is not None and options.grace_period_s < 0:
        # As upstream: a negative period means one second.
        options.grace_period_s = 1
    return options


def _from_query(query: Mapping[str, str], dry_run: list[str]) -> Tree:
    found: Tree = {}
    if "gracePeriodSeconds" in query:
        text = query["gracePeriodSeconds"]
        try:
            found["gracePeriodSeconds"] = int(text)
        except ValueError:
            raise bad_request(f'strconv.ParseInt: parsing "{text}": invalid syntax') from None
    if query.get("propagationPolicy"):
        found["propagationPolicy"] = query["propagationPolicy"]
    if "orphanDependents" in query:
        found["orphanDependents"] = query["orphanDependents"] not in ("false", "0", "")
    if dry_run:
        found["dryRun"] = dry_run
    return found


def _convert(source: Mapping[str, Any]) -> DeleteOptions:
    grace = source.get("gracePeriodSeconds")
    orphan = source.get("orphanDependents")
    preconditions = source.get("preconditions") or {}
    return DeleteOptions(
        grace_period_s=grace,
        uid=str(preconditions.get("uid") or ""),
        resource_version=str(preconditions.get("resourceVersion") or ""),
        orphan_dependents=orphan,
        propagation_policy=str(source.get("propagationPolicy") or ""),
    )
