"""Making responses: media type, compression, pretty printing, errors as Status.

Between encoded bodies and :class:`kutter.http.messages.Response`.
"""

from __future__ import annotations

import asyncio
import gzip
from typing import Any

import orjson

from kutter.api.errors import ApiError, PageNotFoundError
from kutter.api.protobuf import PREFIX, encode_object
from kutter.apiserver.context import Call
from kutter.apiserver.negotiation import JSON, PROTOBUF, YAML, Accepted, status_media
from kutter.apiserver.ports import Tree
from kutter.http.messages import Request, Response

GZIP_THRESHOLD_BYTES = 128 * 1024
# Above this compressing takes long enough to be moved off the loop.
_THREAD_THRESHOLD_BYTES = 1024 * 1024
_JSON_HEADER = ("Content-Type", JSON)
_PROTOBUF_HEADER = ("Content-Type", PROTOBUF)
_GZIP_LEVEL = 1
_STATUS_HEAD = b'{"kind":"Status","apiVersion":"v1",'
# Terminals and browsers read answers with their eyes (as upstream).
_PRETTY_AGENTS = ("curl", "Wget", "Mozilla/5.0")


async def answer(call: Call, body: bytes, accepted: Accepted, status: int = 200) -> Response:
    """A response in the negotiated media type; ``body`` is encoded JSON, or already protobuf."""
    request = call.request
    if accepted.media == YAML:
        body = render_yaml(orjson.loads(body))
        headers = [("Content-Type", YAML)]
    elif accepted.media == PROTOBUF:
        if not body.startswith(PREFIX):
            body = encode_object(orjson.loads(body))
        headers = [_PROTOBUF_HEADER]
    else:
        headers = [_JSON_HEADER]
        if _wants_pretty(request, call.query.get("pretty")):
            body = orjson.dumps(orjson.loads(body), option=orjson.OPT_INDENT_2) + b"\n"
    if len(body) > GZIP_THRESHOLD_BYTES and "gzip" in request.headers.get("accept-encoding", ""):
        if len(body) > _THREAD_THRESHOLD_BYTES:
            body = await asyncio.to_thread(gzip.compress, body, _GZIP_LEVEL)
        else:
            body = gzip.compress(body, _GZIP_LEVEL)
        headers += [("Content-Encoding", "gzip"), ("Vary", "Accept-Encoding")]
    return Response(status, headers, body)


def _wants_pretty(request: Request, parameter: str | None) -> bool:
    if parameter is not None:
        return parameter not in ("false", "0")
    return request.headers.get("user-agent", "").startswith(_PRETTY_AGENTS)


def render_yaml(tree: Any) -> bytes:
    """See :func:`kutter.apiserver.yaml_documents.render_yaml`."""
    # Read in with the first who asks for YAML, or once the server answers.
    from kutter.apiserver import yaml_documents

    return yaml_documents.render_yaml(tree)


def json_answer(tree: Tree, status: int = 200) -> Response:
    """A small JSON answer without negotiation."""
    return Response(status, [_JSON_HEADER], orjson.dumps(tree))


def success(status: int = 200, *, details: Tree | None = None, message: str = "") -> Response:
    """A ``Status`` that says it worked."""
    tree: Tree = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}
    if message:
        tree["message"] = message
    if details:
        tree["details"] = details
    if status != 200:
        tree["code"] = status
    return json_answer(tree, status)


def error_answer(error: ApiError) -> Response:
    """An error as its Status. A page that does not exist is plain text, as upstream's."""
    if isinstance(error, PageNotFoundError):
        text = [
            ("Content-Type", "text/plain; charset=utf-8"),
            ("X-Content-Type-Options", "nosniff"),
        ]
        return Response(404, text, b"404 page not found\n")
    response = json_answer(error.to_status(), error.code)
    response.headers += error.headers.items()
    wait_s = (error.details or {}).get("retryAfterSeconds")
    if wait_s and "Retry-After" not in error.headers:
        response.headers.append(("Retry-After", str(wait_s)))
    return response


def status_for(request: Request, response: Response) -> None:
    """Turn a JSON ``Status``, an error's or a deletion's, into the form the caller prefers."""
    if not response.body.startswith(_STATUS_HEAD):
        return
    media = status_media(request.headers.get("accept", ""))
    if media == JSON or dict(response.headers).get("Content-Type") != JSON:
        return
    status = orjson.loads(response.body)
    response.body = encode_object(status) if media == PROTOBUF else render_yaml(status)
    response.headers = [
        (name, media if name == "Content-Type" else value) for name, value in response.headers
    ]
