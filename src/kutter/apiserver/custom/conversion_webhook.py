"""Conversion by webhook: batches, what is known already, and steps that have to wait for it.

Between a version's requests and the definition's webhook. Laws: an object's state is asked for
once per version however many ask at the same time; a review carries a bounded number of objects;
what fails is told to whoever asked and not remembered.
Upstream: .../custom-resources/custom-resource-definition-versioning#webhook-conversion
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import orjson

from kutter.api.custom.definition import DefinedVersion, Definition
from kutter.api.errors import ApiError
from kutter.apiserver.cache import Entry, encode_tail, head_of
from kutter.apiserver.converting import Made
from kutter.apiserver.custom.conversion import ConvertedEntries, pruned
from kutter.apiserver.custom.conversion_review import (
    ReviewError,
    check_converted,
    choose_version,
    describe,
    read_review,
    render_review,
)
from kutter.apiserver.ports import Tree
from kutter.apiserver.webhooks import ClientConfig, WebhookCallError, read_client_config
from kutter.base.clock import SYSTEM_CLOCK, Clock
from kutter.base.metrics import Counter, Histogram, Registry
from kutter.base.rng import Rng

TIMEOUT_S = 30.0
# Of one review. Upstream sends whole lists; a webhook should not have to hold them.
BATCH_OBJECTS, BATCH_BYTES = 500, 4 << 20
# Waits of one step: each settles at least one translation, and a step needs a few per version.
STEP_WAITS = 200


class Caller(Protocol):
    """How a webhook is called (:class:`kutter.apiserver.webhooks.WebhookCaller`)."""

    async def post_bytes(self, config: ClientConfig, body: bytes, *, timeout_s: float) -> Any: ...


class _NotTranslatedError(Exception):
    """A translation that has to be waited for; caught by ``run``, never seen outside."""

    def __init__(self, source: bytes, api_version: str) -> None:
        super().__init__(api_version)
        self.source = source
        self.api_version = api_version


class ConversionMetrics:
    """How calls of conversion webhooks end and how long they take, named as upstream's."""

    def __init__(self, registry: Registry) -> None:
        labels = ("failure_type", "result")
        self._total = registry.add(
            Counter(
                "apiserver_crd_conversion_webhook_request_total",
                "Counter for CRD conversion webhook requests by result and type of failure.",
                labels,
            )
        )
        self._duration = registry.add(
            Histogram(
                "apiserver_crd_conversion_webhook_duration_seconds",
                "CRD conversion webhook request duration in seconds.",
                labels,
            )
        )

    def observe(self, failure: str, duration_s: float) -> None:
        labels = (failure, "failure" if failure else "success")
        self._total.inc(*labels)
        self._duration.observe(duration_s, *labels)


class ConversionWebhook:
    """One definition's webhook."""

    def __init__(
        self,
        definition: Definition,
        caller: Caller,
        rng: Rng,
        *,
        clock: Clock = SYSTEM_CLOCK,
        metrics: ConversionMetrics | None = None,
    ) -> None:
        webhook: Tree = definition.conversion.get("webhook") or {}
        self._offered = webhook.get("conversionReviewVersions") or []
        self._config = read_client_config(webhook.get("clientConfig") or {})
        self._caller = caller
        self._rng = rng
        self._clock = clock
        self._metrics = metrics
        self._versions = {v.resource.api_version: v for v in definition.versions}

    async def convert(self, objects: Sequence[tuple[bytes, Tree]], target: str) -> list[Tree]:
        """Objects, as JSON and decoded, in the apiVersion ``target``; the trees may be changed.

        Raises ApiError in upstream's words.
        """
        started = self._clock.monotonic()
        failure = "call_failure"
        first = objects[0][1]
        shown = describe(first["apiVersion"], first["kind"])
        try:
            version = choose_version(self._offered)
        except ReviewError as error:
            raise ApiError(500, "", str(error)) from error
        uid = self._rng.uid()
        body = render_review(version, uid, target, [data for data, _ in objects])
        try:
            answer = await self._caller.post_bytes(self._config, body, timeout_s=TIMEOUT_S)
            failure = "malformed_response_failure"
            found = read_review(answer, version, uid)
            failure = "invalid_converted_object_failure"
            if len(found) != len(objects):
                failure = "partial_response_failure"
            trees = self._checked(objects, found, target)
            failure = ""
        except WebhookCallError as error:
            text = f"conversion webhook for {shown} failed: {error}"
            raise ApiError(500, "", text) from error
        except ReviewError as error:
            how = "failed: " if failure == "malformed_response_failure" else ""
            text = f"conversion webhook for {shown} {how}{error}"
            raise ApiError(500, "", text) from error
        finally:
            if self._metrics is not None:
                self._metrics.observe(failure, self._clock.monotonic() - started)
        return trees

    def _checked(
        self, objects: Sequence[tuple[bytes, Tree]], found: list[Any], target: str
    ) -> list[Tree]:
        if len(found) != len(objects):
            raise ReviewError(f"returned {len(found)} objects, expected {len(objects)}")
        # None: another's definition by now, whose requests come to another webhook.
        version = self._versions.get(target)
        trees = []
        for index, ((_, original), one) in enumerate(zip(objects, found, strict=True)):
            at = f" at index {index}" if len(objects) > 1 else ""
            tree = check_converted(original, one, target, at=at)
            owners = tree["metadata"].pop("managedFields", None)
            if version is not None:
                pruned(version, tree)
            if owners is not None:
                tree["metadata"]["managedFields"] = owners
            trees.append(tree)
        return trees


class WebhookConverter:
    """One version of a kind whose conversions a webhook makes."""

    def __init__(
        self,
        version: DefinedVersion,
        definition: Definition,
        webhook: ConversionWebhook,
        held: ConvertedEntries,
    ) -> None:
        self._head = head_of(version.resource)
        self._api_version = version.resource.api_version
        self._stored = definition.stored.resource.api_version
        self._webhook = webhook
        self._held = held
        self._owner = held.new_owner()
        # States somebody is asking for; done when they are known or have failed.
        self._asked: dict[tuple[str, int], asyncio.Future[None]] = {}

    # -- entries --------------------------------------------------------------

    def ready(self, entry: Entry) -> Entry | None:
        if entry.head == self._head:
            return entry
        return self._held.get(self._owner, (entry.key, entry.revision))

    async def entries(self, entries: Sequence[Entry]) -> list[Entry]:
        found = [self.ready(entry) for entry in entries]
        missing = {
            (entry.key, entry.revision): entry
            for entry, known in zip(entries, found, strict=True)
            if known is None
        }
        made = await self._make(missing) if missing else {}
        return [
            known if known is not None else made[entry.key, entry.revision]
            for entry, known in zip(entries, found, strict=True)
        ]

    async def _make(self, missing: dict[tuple[str, int], Entry]) -> dict[tuple[str, int], Entry]:
        made: dict[tuple[str, int], Entry] = {}
        while missing:
            theirs = [self._asked[key] for key in missing if key in self._asked]
            mine = [entry for key, entry in missing.items() if key not in self._asked]
            for batch in batches(mine):
                made |= await self._ask(batch)
            if theirs:
                # Whoever asks may fail or be cancelled: what is not known then is asked again.
                await asyncio.wait(theirs)
            for key, entry in missing.items():
                if key not in made and (known := self.ready(entry)) is not None:
                    made[key] = known
            missing = {key: entry for key, entry in missing.items() if key not in made}
        return made

    async def _ask(self, batch: list[Entry]) -> dict[tuple[str, int], Entry]:
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        # Others may have begun with some of these while this one waited for its turn.
        keys = [(entry.key, entry.revision) for entry in batch]
        own = [key for key in keys if self._asked.setdefault(key, done) is done]
        try:
            objects = [(entry.data, entry.tree) for entry in batch]
            trees = await self._webhook.convert(objects, self._api_version)
            made: dict[tuple[str, int], Entry] = {}
            for entry, key, tree in zip(batch, keys, trees, strict=True):
                tail = encode_tail(tree, entry.revision)
                one = Entry(self._head, tail, entry.namespace, entry.name, entry.revision)
                self._held.put(self._owner, key, one)
                made[key] = one
            return made
        finally:
            for key in own:
                del self._asked[key]
            done.set_result(None)

    # -- trees ----------------------------------------------------------------

    async def to_stored(self, tree: Tree) -> Tree:
        if self._api_version == self._stored:
            return tree
        return (await self._webhook.convert([(orjson.dumps(tree), tree)], self._stored))[0]

    def translate(self, tree: Tree, api_version: str) -> Tree:
        source = orjson.dumps(tree)
        if tree.get("apiVersion") == api_version:
            same: Tree = orjson.loads(source)
            return same
        known = self._held.get(self._owner, (source, api_version))
        if known is None:
            raise _NotTranslatedError(source, api_version)
        return known.whole_tree

    async def run(self, step: Callable[[], Made]) -> Made:
        for _ in range(STEP_WAITS):
            try:
                return step()
            except _NotTranslatedError as wanted:
                await self._translate(wanted)
        raise ApiError(500, "", "converting the object's fields between versions does not end")

    async def _translate(self, wanted: _NotTranslatedError) -> None:
        source, target = wanted.source, wanted.api_version
        trees = await self._webhook.convert([(source, orjson.loads(source))], target)
        head = orjson.dumps({"kind": trees[0]["kind"], "apiVersion": target})[:-1] + b","
        one = Entry(head, encode_tail(trees[0], 0), "", "", 0)
        self._held.put(self._owner, (source, target), one, key_bytes=len(source))


def batches(entries: Sequence[Entry]) -> Iterator[list[Entry]]:
    """Entries in order, as many at a time as one review should carry."""
    batch: list[Entry] = []
    size = 0
    for entry in entries:
        if batch and (len(batch) == BATCH_OBJECTS or size + len(entry.tail) > BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(entry)
        size += len(entry.tail)
    if batch:
        yield batch
