"""Laws of conversion by webhook, whatever the webhook answers."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.conversion_kit import convert, definition

from kutter.api.custom.definition import read_definition
from kutter.api.errors import ApiError
from kutter.apiserver.cache import Entry
from kutter.apiserver.converting import Converter
from kutter.apiserver.custom.conversion import ConvertedEntries
from kutter.apiserver.custom.conversion_review import ReviewError, check_converted, render_review
from kutter.apiserver.custom.conversion_webhook import (
    BATCH_BYTES,
    BATCH_OBJECTS,
    ConversionWebhook,
    WebhookConverter,
    batches,
)
from kutter.apiserver.webhooks import WebhookCallError
from kutter.base.rng import SYSTEM_RNG

json_values = st.sampled_from([None, True, 1, 0.5, "x", "", [], [1], {}, {"a": 1}, {"name": "a"}])
labels = st.dictionaries(st.sampled_from("abc"), st.sampled_from(["", "x", "y"]), max_size=3)


def _entry(name: str, place: str, revision: int = 1) -> Entry:
    head = b'{"kind":"Backend","apiVersion":"net.example.com/v1beta1",'
    metadata = {"resourceVersion": str(revision), "name": name, "namespace": "default"}
    tail = orjson.dumps({"metadata": metadata, "spec": {"hostPort": place}})[1:]
    return Entry(head, tail, "default", name, revision)


@settings(deadline=None)
@given(
    ours=labels,
    theirs=labels | st.none(),
    sent=st.dictionaries(
        st.sampled_from(["generation", "finalizers", "ownerReferences", "resourceVersion", "foo"]),
        json_values,
        max_size=4,
    ),
)
def test_a_webhook_changes_labels_and_annotations_only(
    ours: dict[str, str], theirs: dict[str, str] | None, sent: dict[str, Any]
) -> None:
    metadata = {"name": "a", "uid": "u", "generation": 3, "labels": ours}
    original = {"kind": "Backend", "apiVersion": "g/v1", "metadata": dict(metadata)}
    answered = {
        "kind": "Backend",
        "apiVersion": "g/v2",
        "metadata": {"name": "a", "uid": "u", **sent, "labels": theirs},
    }
    done = check_converted(original, answered, "g/v2", at="")["metadata"]
    assert done.get("labels") == theirs
    assert {k: v for k, v in done.items() if k != "labels"} == {
        k: v for k, v in metadata.items() if k != "labels"
    }


@settings(deadline=None)
@given(answered=json_values, metadata=json_values)
def test_what_is_no_object_is_refused_and_never_crashes(answered: Any, metadata: Any) -> None:
    original = {"kind": "Backend", "apiVersion": "g/v1", "metadata": {"name": "a", "uid": "u"}}
    for tree in (answered, {"kind": "Backend", "apiVersion": "g/v2", "metadata": metadata}):
        try:
            done = check_converted(original, tree, "g/v2", at=" at index 1")
        except ReviewError:
            continue
        assert done["metadata"]["name"] == "a"


@settings(deadline=None)
@given(sizes=st.lists(st.sampled_from([1, 1000, 1 << 20, 5 << 20]), max_size=30))
def test_batches_are_bounded_and_lose_nothing(sizes: list[int]) -> None:
    entries = [Entry(b"", bytes(size), "", str(n), n) for n, size in enumerate(sizes)]
    found = list(batches(entries))
    assert [entry for batch in found for entry in batch] == entries
    for batch in found:
        assert 0 < len(batch) <= BATCH_OBJECTS
        assert len(batch) == 1 or sum(len(e.tail) for e in batch) <= BATCH_BYTES


@settings(deadline=None)
@given(objects=st.lists(json_values, max_size=4))
def test_a_review_is_what_it_says(objects: list[Any]) -> None:
    review = orjson.loads(render_review("v1", "u", "g/v2", [orjson.dumps(o) for o in objects]))
    assert review["request"] == {"uid": "u", "desiredAPIVersion": "g/v2", "objects": objects}


class _Webhook:
    """Answers after a few turns of the loop, failing when told to."""

    def __init__(self, failures: list[bool]) -> None:
        self.failures = failures
        self.asked: list[tuple[str, str]] = []

    async def post_bytes(self, config: Any, body: bytes, *, timeout_s: float) -> Any:
        review = orjson.loads(body)
        fails = self.failures.pop() if self.failures else False
        for _ in range(len(self.asked) % 3):
            await asyncio.sleep(0)
        if fails:
            raise WebhookCallError("EOF")
        request = review["request"]
        for tree in request["objects"]:
            metadata = tree["metadata"]
            self.asked.append((metadata["name"], metadata["resourceVersion"]))
        objects = [convert(tree, request["desiredAPIVersion"]) for tree in request["objects"]]
        result = {"status": "Success"}
        response = {"uid": request["uid"], "result": result, "convertedObjects": objects}
        return {**review, "response": response}


@settings(deadline=None)
@given(
    asks=st.lists(
        st.lists(st.tuples(st.sampled_from("abcd"), st.integers(1, 3)), min_size=1, max_size=6),
        min_size=1,
        max_size=6,
    ),
    failures=st.lists(st.booleans(), max_size=4),
    cancelled=st.sets(st.integers(0, 5), max_size=2),
)
def test_whoever_asks_gets_the_states_asked_for_in_order(
    asks: list[list[tuple[str, int]]], failures: list[bool], cancelled: set[int]
) -> None:
    crd = read_definition(definition({"url": "https://x.test"}, "v1beta1", "v1", stored="v1beta1"))
    caller = _Webhook(failures)
    webhook = ConversionWebhook(crd, caller, SYSTEM_RNG)
    converter: Converter = WebhookConverter(crd.versions[1], crd, webhook, ConvertedEntries())

    async def run() -> list[Any]:
        tasks = [
            asyncio.ensure_future(
                converter.entries([_entry(name, f"{name}:{rev}", rev) for name, rev in ask])
            )
            for ask in asks
        ]
        await asyncio.sleep(0)
        for number in cancelled:
            if number < len(tasks):
                tasks[number].cancel()
        async with asyncio.timeout(20):
            return await asyncio.gather(*tasks, return_exceptions=True)

    for ask, found in zip(asks, asyncio.run(run()), strict=True):
        if isinstance(found, BaseException):
            assert isinstance(found, ApiError | asyncio.CancelledError)
            continue
        assert [(e.name, e.revision) for e in found] == ask
        assert [(e.tree["spec"]["host"], int(e.tree["spec"]["port"])) for e in found] == ask
    assert len(caller.asked) == len(set(caller.asked)), "a state was converted twice"
