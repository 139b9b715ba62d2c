"""watch: changes from a version on, as a stream of frames.

Upstream: https://kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes
"""

from __future__ import annotations

from kutter.api.errors import ApiError, expired
from kutter.apiserver.cache import Entry
from kutter.apiserver.context import Call
from kutter.apiserver.negotiation import JSON, PROTOBUF
from kutter.apiserver.paging import parse_list_options
from kutter.apiserver.protobuf_encoders import ProtobufEncoder
from kutter.apiserver.selection import parse_selection
from kutter.apiserver.verbs.read import wait_fresh
from kutter.apiserver.watching import WatchStream, error_frame, single_frame
from kutter.http.messages import Response

# A watch without timeoutSeconds ends after one to two times this (as upstream).
MINIMUM_TIMEOUT_S = 1800.0
FIRST_CONVERTED = 500
_MEDIA = {JSON: JSON, PROTOBUF: f"{PROTOBUF};stream=watch"}


async def watch(call: Call) -> Response:
    """Stream changes. A version too old is told as an ERROR event, as upstream does."""
    served, info, server = call.served, call.info, call.server
    accepted = call.negotiate(watch=True)
    options = parse_list_options(call.query, watch=True)
    strategy = served.storage.strategy
    namespace, field_selector = info.namespace, info.field_selector
    if info.parts[1:2] and info.name and "metadata.name" not in field_selector:
        # /watch/namespaces/x/pods/y of old: a watch of one object.
        field_selector = f"{field_selector},metadata.name={info.name}".lstrip(",")
    selection = parse_selection(strategy, namespace, info.label_selector, field_selector)
    headers = [("Content-Type", _MEDIA[accepted.media])]
    encoder = served.encoder_for(accepted, call.query.get("includeObject", ""), watch=True)
    caches, cache = server.caches, served.storage.cache
    from_start = options.initial_events
    if from_start is None:
        # No version, or "any": begin with the current state as ADDED events.
        from_start = not options.revision
    elif options.revision:
        await wait_fresh(call, options.revision)
    if from_start and isinstance(encoder, ProtobufEncoder):
        state = selection.candidates(cache)
        await encoder.prepare([e for e in state if selection.matches(e)])
    newest = caches.newest
    revision = newest if from_start or options.revision is None else options.revision
    if not from_start and revision < cache.history_floor:
        error: ApiError = expired(revision, cache.history_floor)
        stream_of_one = single_frame(error_frame(error, encoder))
        return Response(200, headers, stream=stream_of_one)
    if from_start and served.converter is not None:
        # If conversion fails, the answer says so; the rest is converted as it is sent.
        await served.converter.entries(cache.entries(selection.namespace)[:FIRST_CONVERTED])
        newest = revision = caches.newest
    initial: list[Entry] | None = None
    if from_start:
        if served.converter is None:
            initial = selection.candidates(cache)
            if selection.selects:
                initial = [entry for entry in initial if selection.matches(entry)]
        else:
            initial = cache.entries(selection.namespace)
    timeout_s = options.timeout_s
    if timeout_s is None:
        timeout_s = MINIMUM_TIMEOUT_S * (1 + server.rng.uniform(0, 1))
    # No await from here to the end: between the state and the first live change lies no gap.
    stream = WatchStream(
        served.broadcaster,
        caches,
        served.broadcaster.watcher(selection, encoder, revision),
        clock=server.clock,
        timeout_s=timeout_s,
        bookmarks=options.bookmarks,
    )
    send_end = options.initial_events is True and options.bookmarks
    stream.start(initial, send_end=send_end, revision=newest)
    return Response(200, headers, stream=stream)
