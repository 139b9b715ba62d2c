"""Sends seeded requests to a whole cluster and keeps what must not happen.

A finding is a 500 of our own (with the traceback's place as its signature), an answer that is no Status, a
request that takes too long, or memory that grows. 503 and 504 are answers: nobody runs nodes here.
"""

from __future__ import annotations

import asyncio
import logging
import random
import resource as rusage
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import orjson
from tests.fuzz.requests import FuzzRequest, Requests

from kutter.api.resources import Resource
from kutter.http.messages import Request, Response, parse_target
from kutter.testing.cluster import ADMIN, LocalCluster

HANG_S = 20.0
# Bad input that upstream itself answers with a 500 (and no reason): its clients know these texts.
UPSTREAMS_500 = (
    "failed to create typed patch object",
    "resourceVersion should not be set on objects to be created",
    "failed to decode managed fields",
    "unable to find api field in struct",
    "does not contain declared merge key",
    "failed to create typed live object",
    "unknown patch type",
    "failed to allocate a serviceIP: range is full",
    "strconv.ParseUint: parsing",
    "expected a []interface {}, but received a",
    "list element types are not identical",
)
SWEEP_EVERY = 2000
_STREAM_S = 0.05


@dataclass(slots=True)
class Finding:
    """One thing that must not happen; ``signature`` tells equal ones."""

    signature: str
    detail: str
    request: FuzzRequest


@dataclass(slots=True)
class Report:
    """What came out."""

    sent: int = 0
    statuses: dict[int, int] = field(default_factory=dict)
    findings: dict[str, Finding] = field(default_factory=dict)
    memory_mib: list[float] = field(default_factory=list)


class _Crashes(logging.Handler):
    """Remembers the last unexpected exception the pipeline logged."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.last: BaseException | None = None

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info and record.exc_info[1] is not None:
            self.last = record.exc_info[1]


class Fuzzer:
    """``await run(...)`` on the cluster's own loop."""

    def __init__(self, cluster: LocalCluster, seed: str) -> None:
        self.api = cluster.plane.api
        self.requests = Requests(random.Random(seed))
        self.report = Report()
        self._crashes = _Crashes()

    async def run(self, go_on: Callable[[Report], bool]) -> Report:
        logger = logging.getLogger("kutter")
        logger.addHandler(self._crashes)
        try:
            await self._sweep()
            while go_on(self.report):
                if self.report.sent % SWEEP_EVERY == SWEEP_EVERY - 1:
                    await self._sweep()
                await self._one(self.requests.make(self._resources()))
        finally:
            logger.removeHandler(self._crashes)
        return self.report

    def _resources(self) -> list[Resource]:
        return list(self.api.catalog)

    async def _one(self, fuzz: FuzzRequest) -> None:
        report = self.report
        report.sent += 1
        self._crashes.last = None
        try:
            response = await asyncio.wait_for(self._send(fuzz), HANG_S)
        except TimeoutError:
            self._found("hang", f"no answer in {HANG_S} s", fuzz)
            return
        status = response.status
        report.statuses[status] = report.statuses.get(status, 0) + 1
        if status == 500 and not any(text.encode() in response.body for text in UPSTREAMS_500):
            self._found(*self._why(response), fuzz)
        elif 400 <= status != 500 and fuzz.method != "HEAD":
            self._check_status(response, fuzz)
        elif status in (200, 201) and response.body[:1] == b"{":
            tree = orjson.loads(response.body)
            if isinstance(tree.get("metadata"), dict) and "items" not in tree:
                self.requests.remember(tree)

    async def _send(self, fuzz: FuzzRequest) -> Response:
        path, raw_query = parse_target(fuzz.target)
        request = Request(
            method=fuzz.method,
            path=path,
            raw_query=raw_query,
            headers=dict(fuzz.headers),
            header_list=list(fuzz.headers.items()),
            body=fuzz.body,
            local_user=ADMIN,
        )
        response = await self.api.handle(request)
        if response.stream is not None:
            stream = response.stream
            try:
                async with asyncio.timeout(_STREAM_S):
                    async for _ in stream:
                        pass
            except TimeoutError:
                pass
            finally:
                await stream.aclose()  # type: ignore[attr-defined]
        return response

    def _why(self, response: Response) -> tuple[str, str]:
        error = self._crashes.last
        if error is None:
            body = response.body.decode(errors="replace")
            return f"500 {body[:120]}", body
        frames = traceback.extract_tb(error.__traceback__)
        last = frames[-1]
        place = f"{Path(last.filename).name}:{last.name}"
        return f"{type(error).__name__} in {place}", "".join(traceback.format_exception(error))

    def _check_status(self, response: Response, fuzz: FuzzRequest) -> None:
        kind = {k.lower(): v for k, v in response.headers}.get("content-type", "")
        if "json" not in kind:
            return
        try:
            tree = orjson.loads(response.body)
        except orjson.JSONDecodeError:
            tree = None
        if not isinstance(tree, dict) or tree.get("kind") != "Status":
            body = response.body[:300].decode(errors="replace")
            self._found(f"{response.status} is no Status", body, fuzz)
        elif tree.get("code") != response.status:
            self._found("the Status tells another code", str(tree), fuzz)

    def _found(self, signature: str, detail: str, fuzz: FuzzRequest) -> None:
        self.report.findings.setdefault(signature, Finding(signature, detail, fuzz))

    async def _sweep(self) -> None:
        """Delete what was made, so that memory tells of leaks and not of objects."""
        for target in self._resources():
            kept = ("namespaces", "nodes", "componentstatuses")
            if target.group_resource in kept or "create" not in target.verbs:
                continue
            if "list" not in target.verbs:
                continue
            for entry in list(self.api.caches.cache(target.group_resource).entries()):
                if entry.namespace == "kube-system" or entry.name.startswith(
                    ("system:", "kube", "kutter:")
                ):
                    continue
                if entry.tree["metadata"].get("finalizers"):
                    body = b'{"metadata":{"finalizers":null}}'
                    await self._quiet("PATCH", target, entry.namespace, entry.name, body)
                await self._quiet("DELETE", target, entry.namespace, entry.name, _NOW)
        await self._quiet("POST", None, "", "", b'{"metadata":{"name":"fuzz"}}')
        self.report.memory_mib.append(resident_mib())

    async def _quiet(
        self, method: str, target: Resource | None, namespace: str, name: str, body: bytes
    ) -> None:
        path = target.path(namespace, name) if target else "/api/v1/namespaces"
        media = "application/merge-patch+json" if method == "PATCH" else "application/json"
        await self.api.handle(
            Request(
                method=method,
                path=path,
                headers={"content-type": media},
                body=body,
                local_user=ADMIN,
            )
        )


_NOW = b'{"kind":"DeleteOptions","apiVersion":"v1","gracePeriodSeconds":0}'


def resident_mib() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * rusage.getpagesize() / 2**20


def until(deadline_s: float) -> Callable[[Report], bool]:
    return lambda report: time.monotonic() < deadline_s
