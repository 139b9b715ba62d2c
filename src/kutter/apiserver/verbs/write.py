"""create, update, patch, delete and deletecollection: bodies in, storage called, answers out."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson

from kutter.api.errors import ApiError, bad_request
from kutter.api.schema.duplicates import text_keys
from kutter.api.schema.walk import normal_time
from kutter.apiserver.answers import answer, json_answer
from kutter.apiserver.applying import Application
from kutter.apiserver.authz.messages import refusal
from kutter.apiserver.body import (
    check_fields,
    check_kind,
    check_size,
    content_type_of,
    parse_kind,
    parse_tree,
)
from kutter.apiserver.cache import Entry
from kutter.apiserver.context import Call
from kutter.apiserver.encoders import ListMeta
from kutter.apiserver.known_specs import tree_without
from kutter.apiserver.negotiation import JSON, Accepted
from kutter.apiserver.ownership import Claim, adopt, manager_of
from kutter.apiserver.paging import ListOptions, parse_list_options
from kutter.apiserver.patching import (
    APPLY_PATCH,
    PATCH_TYPES,
    STRATEGIC_PATCH,
    apply_patch,
    check_patched,
    invalid_patch,
    parse_patch,
    wrong_patch_type,
)
from kutter.apiserver.ports import Attributes, Tree
from kutter.apiserver.selection import parse_selection
from kutter.apiserver.settled import SPEC, copied
from kutter.apiserver.storage.foretold import Forecast
from kutter.apiserver.verbs.read import select
from kutter.apiserver.writing import DeleteOptions, WriteContext, read_delete_options
from kutter.http.messages import Response

# Objects of a collection deleted at once: they share commits.
_DELETE_BATCH = 32


def decode_object(call: Call) -> Tree:
    """The body as an object of the served kind, checked and pruned, in the served version."""
    served, request = call.served, call.request
    resource = served.resource
    doubled: list[str] = []
    tree = parse_tree(
        request,
        resource.kind,
        api_version=resource.api_version,
        protobuf=served.protobuf,
        doubled=doubled,
    )
    check_kind(tree, resource, resource.kind, resource.api_version, request.body)
    source = request.body if content_type_of(request) in ("", JSON) else None
    _check_fields(call, tree, source, doubled)
    if call.record is not None:
        call.record.take_object(tree)
    return tree


def _check_fields(call: Call, tree: Tree, source: bytes | None, found: list[str]) -> None:
    owners = _take_owners(tree)
    uncounted = 0
    if owners is not None and source is not None:
        uncounted = 1 + text_keys(orjson.dumps(owners))
    validation = call.query.get("fieldValidation", "")
    check_fields(
        call.served.schema,
        tree,
        validation,
        source,
        call.warnings,
        uncounted=uncounted,
        found=found,
    )
    if tree.get("metadata") is None:
        tree["metadata"] = {}
    if owners is not None:
        tree["metadata"]["managedFields"] = owners


def _take_owners(tree: Tree) -> Any:
    """Owners are checked where they are used: they are many keys, and mostly nobody changed
    them. An empty list of them means something, so it must not be cleaned away. Only their times
    have to be some, whoever uses them. Raises 400.
    """
    metadata = tree.get("metadata")
    if not isinstance(metadata, dict) or not isinstance(metadata.get("managedFields"), list):
        return None
    owners = metadata.pop("managedFields")
    for index, entry in enumerate(owners):
        time = entry.get("time") if isinstance(entry, dict) else None
        if time is None:
            continue
        try:
            if not isinstance(time, str):
                raise ValueError("a time is text")  # noqa: TRY004  (answered below)
            entry["time"] = normal_time(time)
        except ValueError as error:
            raise bad_request(f"metadata.managedFields[{index}].time: {error}") from None
    return owners


def check_namespace(tree: Tree, namespace: str) -> None:
    """The object's namespace, if it has one, is the path's."""
    found = tree["metadata"].get("namespace")
    if found and namespace and found != namespace:
        raise bad_request(
            "the namespace of the provided object does not match the namespace sent on the request"
        )


def check_name(tree: Tree, name: str) -> None:
    """The object's name is the path's."""
    found = tree["metadata"].get("name")
    if not found:
        raise bad_request(
            f"the name of the object ({name} based on URL) was undeterminable: "
            "name must be provided"
        )
    if found != name:
        raise bad_request(
            f"the name of the object ({found}) does not match the name on the URL ({name})"
        )


def _decode_new(call: Call, context: WriteContext) -> Tree:
    """As :func:`decode_object`, with what is known of the specification already.

    An audited request is shown as it was sent, so it is looked at the plain way.
    """
    request = call.request
    specs = call.served.storage.strategy.known_specs
    if specs is None or call.record is not None or content_type_of(request) not in ("", JSON):
        return decode_object(call)
    check_size(request.body)
    sent = specs.find(request.body)
    if sent is None:
        return decode_object(call)
    if sent.known is not None and (tree := tree_without(sent)) is not None:
        resource = call.served.resource
        check_kind(tree, resource, resource.kind, resource.api_version)
        _check_fields(call, tree, sent.rest, [])
        tree["spec"] = orjson.loads(sent.known.prepared)
        context.spec = sent
        return tree
    found = len(call.warnings)
    tree = decode_object(call)
    # Only what was looked through, and where nothing was found, is worth remembering.
    checked = sent.known is None and call.query.get("fieldValidation") != "Ignore"
    if checked and len(call.warnings) == found and type(tree.get("spec")) is dict:
        context.spec = sent
    return tree


def _forecast(call: Call) -> Forecast | None:
    """What is known of a create's body; None when it goes the plain way."""
    request = call.request
    forecasts = call.served.storage.forecasts
    if forecasts is None or call.record is not None or "dryRun" in call.query:
        return None
    if call.warnings or call.served.converts or content_type_of(request) not in ("", JSON):
        return None
    return forecasts.of(request.body, (_who(call), call.info.namespace, request.raw_query))


def _who(call: Call) -> tuple[Any, ...]:
    """All that is known of the caller; made once for all that come with the same headers."""
    user, remembered = call.user, call.request.remembered
    known = remembered.get(_who) if remembered is not None else None
    manager = manager_of(call)
    if known is not None and known[0] is user and known[1][-1] == manager:
        who: tuple[Any, ...] = known[1]
        return who
    extra = tuple((key, tuple(values)) for key, values in user.extra.items()) if user.extra else ()
    who = (user.name, user.uid, tuple(user.groups), extra, manager)
    if remembered is not None:
        remembered[_who] = (user, who)
    return who


async def create(call: Call) -> Response:
    served, namespace = call.served, call.info.namespace
    accepted = call.negotiate()
    forecast = _forecast(call)
    if (
        forecast is not None
        and forecast.holds(served.storage.permit())
        and (pattern := forecast.pattern) is not None
    ):
        # Its query was read for the first of its kind.
        name, base = forecast.name, forecast.base
        made = await served.storage.create_foretold(
            call.now, namespace, pattern, name=name, base=base
        )
        if made is not None:
            return await answer_entry(call, made, accepted, 201)
    context = call.write_context("CreateOptions")
    if forecast is not None and forecast.pattern is None and forecast.reads is not None:
        context.forecast = forecast
    tree = _decode_new(call, context)
    context.claim = Claim(call, spec=context.spec)
    check_namespace(tree, namespace)
    entry = await served.storage.create(context, namespace, served.to_stored(tree))
    return await answer_entry(call, entry, accepted, 201)


async def answer_entry(call: Call, entry: Entry, accepted: Accepted, status: int = 200) -> Response:
    """One object in the negotiated form."""
    encoder = call.served.encoder_for(accepted, call.query.get("includeObject", ""))
    return await answer(call, encoder.encode(entry), accepted, status)


async def update(call: Call, subresource: str = "") -> Response:
    served, namespace, name = call.served, call.info.namespace, call.info.name
    accepted = call.negotiate()
    context = call.write_context("UpdateOptions", subresource=subresource)
    context.claim = Claim(call, subresource)
    first: Tree | None = decode_object(call)
    assert first is not None
    check_namespace(first, namespace)
    check_name(first, name)

    def transform(old: Tree | None) -> Tree:
        nonlocal first
        # A lost race means another attempt: the pipeline has changed the tree, so read it again.
        tree, first = first or decode_object(call), None
        return served.to_stored(tree)

    entry, created = await served.storage.update(
        context, namespace, name, transform, may_create=True, blind=True
    )
    return await answer_entry(call, entry, accepted, 201 if created else 200)


def patched_object(
    call: Call, media: str, tree: Tree, change: Any, *, settled: bool = False
) -> Tree:
    """``tree`` (owned, in the served version) with a patch applied, checked and pruned.

    ``settled``: its specification is another object's as well, and need not be looked at unless
    the patch has changed it.
    """
    served, resource = call.served, call.served.resource
    patched = apply_patch(served.schema, media, tree, change)
    spared: Tree | None = None
    if settled:
        spared = tree[SPEC]
        if patched.get(SPEC) is not spared:
            # It reaches into what is not ours to change.
            spared = None
            patched = apply_patch(served.schema, media, copied(tree), change)
    tree = patched
    if media == STRATEGIC_PATCH:
        # Merged into the object by its type, so nobody looks at what the patch calls it.
        tree["kind"], tree["apiVersion"] = resource.kind, resource.api_version
    else:
        try:
            check_kind(tree, resource, resource.kind, resource.api_version)
        except ApiError as error:
            raise invalid_patch(change, orjson.dumps(patched), error.message) from error
    owners = _take_owners(tree)
    if served.schema is not None:
        check_patched(
            served.schema,
            media,
            tree,
            change=change,
            body=call.request.body,
            validation=call.query.get("fieldValidation", ""),
            warnings=call.warnings,
            spared=spared,
        )
    if tree.get("metadata") is None:
        tree["metadata"] = {}
    if owners is not None:
        tree["metadata"]["managedFields"] = owners
    check_namespace(tree, call.info.namespace)
    check_name(tree, call.info.name)
    return tree


async def patch(call: Call, subresource: str = "") -> Response:
    served, namespace, name = call.served, call.info.namespace, call.info.name
    accepted = call.negotiate()
    media = content_type_of(call.request)
    if media == APPLY_PATCH:
        return await apply(call, subresource)
    if media not in PATCH_TYPES:
        raise wrong_patch_type(call, media)
    context = call.write_context("PatchOptions", subresource=subresource)
    context.claim = Claim(call, subresource)
    check_size(call.request.body)
    change = parse_patch(media, call.request.body)
    context.sees_owners = b"managedFields" in call.request.body
    context.patches = not served.converts

    def transform(old: Tree | None) -> Tree:
        assert old is not None, "patches never create"
        settled = context.settled is not None
        tree = patched_object(call, media, served.to_served(old), change, settled=settled)
        return served.to_stored(tree)

    entry, _ = await served.storage.update(context, namespace, name, transform)
    return await answer_entry(call, entry, accepted)


async def apply(call: Call, subresource: str = "") -> Response:
    """Server-side apply: creates what is missing."""
    served, namespace, name = call.served, call.info.namespace, call.info.name
    accepted = call.negotiate()
    context = call.write_context("PatchOptions", subresource=subresource, apply=True)
    context.claim = adopt
    # Conversions look at the tree as a whole.
    context.sees_owners = served.converts or served.converter is not None
    context.holds_owners = not context.sees_owners
    application = Application(call, subresource=subresource)
    resource = served.resource
    missing = not subresource and served.storage.cache.get(namespace, name) is None
    if missing:
        await _check_may_create(call)

    def transform(old: Tree | None) -> Tree:
        tree = application.apply(None if old is None else served.to_served(old))
        check_kind(tree, resource, resource.kind, resource.api_version)
        check_namespace(tree, namespace)
        check_name(tree, name)
        # Unknown fields have been refused before; this brings values into their one form.
        check_fields(served.schema, tree, "Ignore", None, call.warnings)
        return served.to_stored(tree)

    entry, created = await served.storage.update(
        context, namespace, name, transform, must_create=missing
    )
    return await answer_entry(call, entry, accepted, 201 if created else 200)


async def _check_may_create(call: Call) -> None:
    """An apply that creates needs the right to create. Raises 403."""
    info = call.info
    attributes = Attributes(
        user=call.user,
        verb="create",
        group=info.group,
        version=info.version,
        resource=info.resource,
        subresource="",
        namespace=info.namespace,
        name=info.name,
        path=info.path,
        is_resource=True,
    )
    decision = await call.server.authorizer.authorize(attributes)
    if not decision.allowed:
        raise refusal(attributes, decision.reason)


def _delete_options(call: Call) -> tuple[DeleteOptions, Tree]:
    """The options, and the body they were read from (empty: from the query)."""
    request = call.request
    tree: Tree = {}
    if request.body:
        tree = parse_kind(request, "DeleteOptions", "", "v1", warnings=[])
    dry_run = request.params("dryRun") if "dryRun" in call.query else []
    return read_delete_options(tree, call.query, dry_run), tree


def _delete_context(call: Call, options: DeleteOptions, sent: Tree) -> WriteContext:
    context = call.write_context("DeleteOptions")
    context.dry_run = options.dry_run
    if sent:
        context.options = {**sent, **context.options}
    return context


async def delete(call: Call) -> Response:
    served = call.served
    accepted = call.negotiate()
    options, sent = _delete_options(call)
    context = _delete_context(call, options, sent)
    entry, gone = await served.storage.delete(context, call.info.namespace, call.info.name, options)
    if gone and not served.storage.strategy.return_deleted_object:
        return _deleted(call, entry)
    # Upstream answers 202 only for the deprecated orphanDependents=false.
    status = 202 if not gone and options.orphan_dependents is False else 200
    return await answer_entry(call, entry, accepted, status)


def _deleted(call: Call, entry: Entry) -> Response:
    resource = call.served.resource
    details: Tree = {"name": entry.name}
    if resource.group:
        details["group"] = resource.group
    # Upstream puts the plural into kind here.
    details["kind"] = resource.plural
    details["uid"] = entry.tree["metadata"].get("uid", "")
    return json_answer(
        {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Success",
            "details": details,
        }
    )


async def delete_collection(call: Call) -> Response:
    served, info = call.served, call.info
    accepted = call.negotiate()
    options, sent = _delete_options(call)
    # For its own checks: bad options are refused before anything is deleted.
    _delete_context(call, options, sent)
    storage = served.storage
    selection = parse_selection(
        storage.strategy, info.namespace, info.label_selector, info.field_selector
    )
    told = ("limit", "continue", "resourceVersion", "resourceVersionMatch")
    asked = parse_list_options({k: v for k, v in call.query.items() if k in told}, watch=False)
    entries, meta = await select(call, ListOptions(asked.limit, asked.token), selection)
    for start in range(0, len(entries), _DELETE_BATCH):
        async with asyncio.TaskGroup() as tasks:
            for entry in entries[start : start + _DELETE_BATCH]:
                tasks.create_task(_delete_one(call, entry, options, sent))
    encoder = served.encoder_for(accepted, call.query.get("includeObject", ""))
    body = encoder.encode_list(entries, ListMeta(meta.revision, meta.continue_token))
    return await answer(call, body, accepted)


async def _delete_one(call: Call, entry: Entry, options: DeleteOptions, sent: Tree) -> None:
    context = _delete_context(call, options, sent)
    try:
        await call.served.storage.delete(context, entry.namespace, entry.name, options)
    except ApiError as error:
        if error.code != 404:
            raise
