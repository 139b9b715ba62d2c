"""get and list: answers spliced from the read cache, older pages from the store.

Upstream: https://kubernetes.io/docs/reference/using-api/api-concepts/#resource-versions
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kutter.api.errors import ApiError, bad_request, gone
from kutter.apiserver.answers import answer
from kutter.apiserver.cache import Entry
from kutter.apiserver.context import Call
from kutter.apiserver.converting import Converter
from kutter.apiserver.encoders import Encoder, ListMeta, ObjectEncoder
from kutter.apiserver.paging import Continue, ListOptions, parse_list_options
from kutter.apiserver.protobuf_encoders import ProtobufEncoder
from kutter.apiserver.selection import Selection, parse_selection
from kutter.http.messages import Response
from kutter.store.interface import CompactedError, FutureRevisionError, prefix_end

FRESH_TIMEOUT_S = 3.0
# Records read from the store at once when a selector filters an older page.
_CHUNK = 500
_INCONSISTENT = (
    "The provided continue parameter is too old to display a consistent list result. You can "
    "start a new list without the continue parameter, or use the continue token in this response "
    "to retrieve the remainder of the results. Continuing with the provided token results in an "
    "inconsistent list - objects that were created, modified, or deleted between the time the "
    "first chunk was returned and now may show up in the list."
)


async def get(call: Call) -> Response:
    """One object."""
    served = call.served
    version = call.query.get("resourceVersion")
    if version and version != "0":
        if not version.isdecimal():
            raise bad_request(f"invalid resource version: {version}")
        await wait_fresh(call, int(version))
    accepted = call.negotiate()
    storage = served.storage
    if storage.converter is None:
        entry = storage.get(call.info.namespace, call.info.name)
    else:
        entry = await storage.read(call.info.namespace, call.info.name)
    if accepted.kind == "PartialObjectMetadataList":
        raise _not_of_kind(call, accepted.kind, "is not a list", "")
    encoder = served.encoder_for(accepted, call.query.get("includeObject", ""))
    return await answer(call, encoder.encode(entry), accepted)


def _not_of_kind(call: Call, wanted: str, what: str, suffix: str) -> ApiError:
    """406 for one's metadata wanted of many, or the other way round."""
    resource = call.served.resource
    if resource.custom:
        shown = f"unstructured.Unstructured{suffix}"
    else:
        shown = f"{resource.group.partition('.')[0] or 'core'}.{resource.kind}{suffix}"
    text = f"you requested {wanted}, but the requested object {what} (*{shown})"
    return ApiError(406, "NotAcceptable", text)


async def wait_fresh(call: Call, revision: int, *, retry: bool = True) -> None:
    """Wait until the cache is at ``revision``. Raises 504 when it does not get there, which says
    when to ``retry`` unless just that revision was asked for (as upstream).
    """
    caches = call.server.caches
    if await caches.wait_revision(revision, FRESH_TIMEOUT_S):
        return
    details: dict[str, Any] = {
        "causes": [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}]
    }
    if retry:
        details["retryAfterSeconds"] = 1
    text = f"Timeout: Too large resource version: {revision}, current: {caches.newest}"
    raise ApiError(504, "Timeout", text, details=details)


async def list_(call: Call) -> Response:
    """A collection, or a page of it."""
    served, query, info = call.served, call.query, call.info
    accepted = call.negotiate()
    if accepted.kind == "PartialObjectMetadata":
        raise _not_of_kind(call, accepted.kind, "is a list", "List")
    options = parse_list_options(query, watch=False)
    selection = parse_selection(
        served.storage.strategy, info.namespace, info.label_selector, info.field_selector
    )
    if options.revision:
        await wait_fresh(call, options.revision, retry=options.match != "Exact")
    encoder = served.encoder_for(accepted, query.get("includeObject", ""))
    bodies, newest = call.server.list_bodies, call.server.caches.newest
    key = (encoder.key, info.namespace, info.label_selector, info.field_selector)
    shared = _is_shared(call, options, encoder)
    held = bodies.get(newest, key) if shared else None
    if held is not None:
        return await answer(call, held, accepted)
    entries, meta = await select(call, options, selection)
    if isinstance(encoder, ProtobufEncoder):
        await encoder.prepare(entries)
    body = encoder.encode_list(entries, meta)
    if shared and newest == call.server.caches.newest:
        bodies.put(newest, key, body)
    return await answer(call, body, accepted)


def _is_shared(call: Call, options: ListOptions, encoder: Encoder) -> bool:
    """Whether another caller's equal list of this very moment would be the same bytes."""
    if options.limit or call.served.converter is not None:
        return False
    if not isinstance(encoder, ObjectEncoder) or not encoder.splices:
        return False
    return _position(call, options) == (0, "")


async def select(
    call: Call, options: ListOptions, selection: Selection
) -> tuple[Sequence[Entry], ListMeta]:
    """The entries of one list or page, in the served version, with the list's metadata."""
    cache, converter = call.served.storage.cache, call.served.converter
    revision, start = _position(call, options)
    if revision and revision < cache.revision:
        return await _select_at(call, options, selection, revision, start)
    newest = call.server.caches.newest
    shown = revision or newest
    name = selection.exact("metadata.name")
    if name is not None and not start:
        namespace = selection.namespace or selection.exact("metadata.namespace") or ""
        if namespace or not call.served.resource.namespaced:
            one = cache.get(namespace, name)
            found = await _seen(converter, [one] if one is not None else [])
            return [entry for entry in found if selection.matches(entry)], ListMeta(shown)
    if converter is None and not start and selection.indexed:
        found = [entry for entry in selection.candidates(cache) if selection.matches(entry)]
        if not options.limit or len(found) <= options.limit:
            return found, ListMeta(shown)
    low, high = cache.bounds(selection.namespace, start)
    if not options.limit:
        entries = await _seen(converter, cache.slice(low, high))
        if selection.selects:
            entries = [entry for entry in entries if selection.matches(entry)]
        return entries, ListMeta(shown)
    if not selection.selects:
        page = cache.slice(low, min(high, low + options.limit))
        remaining = high - low - len(page)
        page = await _seen(converter, page)
        if not remaining:
            return page, ListMeta(shown)
        token = Continue(shown, page[-1].key + "\0").encode()
        return page, ListMeta(shown, token, remaining)
    page = []
    candidates = cache.slice(low, high)
    # Selectors see the served version, so what is looked at has to be converted first.
    step = _CHUNK if converter is not None else len(candidates)
    for start_at in range(0, len(candidates), step or 1):
        for entry in await _seen(converter, candidates[start_at : start_at + step]):
            if selection.matches(entry):
                if len(page) == options.limit:
                    return page, ListMeta(shown, Continue(shown, page[-1].key + "\0").encode())
                page.append(entry)
    return page, ListMeta(shown)


async def _seen(converter: Converter | None, entries: list[Entry]) -> list[Entry]:
    """Stored entries as the served version shows them."""
    return entries if converter is None else await converter.entries(entries)


def _position(call: Call, options: ListOptions) -> tuple[int, str]:
    """At which revision (0: newest) and from which key on."""
    token = options.token
    if token is not None:
        return max(0, token.revision), token.start
    if options.match == "Exact" or (options.limit and not options.match):
        return options.revision or 0, ""
    return 0, ""


async def _select_at(
    call: Call, options: ListOptions, selection: Selection, revision: int, start: str
) -> tuple[Sequence[Entry], ListMeta]:
    """From the store, as it was at ``revision``."""
    cache = call.served.storage.cache
    prefix = cache.prefix + (f"{selection.namespace}/" if selection.namespace else "")
    first, end = max(prefix, cache.prefix + start), prefix_end(prefix)
    page: list[Entry] = []
    limit = options.limit
    chunk = limit if limit and not selection.selects else (_CHUNK if limit else 0)
    while True:
        try:
            found = await call.server.store.range(first, end, revision=revision, limit=chunk)
        except CompactedError as error:
            raise _too_old(call, options, start, revision, error.oldest) from error
        except FutureRevisionError as error:
            raise bad_request(str(error)) from error
        remaining = found.remaining
        entries = [cache.entry_of(record) for record in found.records]
        entries = await _seen(call.served.converter, entries)
        for position, entry in enumerate(entries):
            if not selection.selects or selection.matches(entry):
                page.append(entry)
            if limit and len(page) == limit:
                remaining += len(entries) - position - 1
                break
        if (limit and len(page) == limit) or not found.remaining:
            break
        first = found.records[-1].key + "\0"
    if not remaining or not page:
        return page, ListMeta(revision)
    token = Continue(revision, page[-1].key + "\0").encode()
    return page, ListMeta(revision, token, 0 if selection.selects else remaining)


def _too_old(call: Call, options: ListOptions, start: str, revision: int, oldest: int) -> ApiError:
    if options.token is None:
        return ApiError(410, "Expired", f"too old resource version: {revision} ({oldest})")
    error = gone(_INCONSISTENT)
    error.metadata = {"continue": Continue(-1, start).encode()}
    return error
