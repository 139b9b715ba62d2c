"""The informer over a scripted transport: order, indexes, broken watches, odd objects."""

import asyncio

import orjson

from kutter.api.types.core_v1 import ConfigMap
from kutter.client.client import Client
from kutter.client.transport import Answer
from kutter.machinery.informer import Informer


def config_map(name, version, **data):
    return {
        "kind": "ConfigMap",
        "apiVersion": "v1",
        "metadata": {"name": name, "namespace": "d", "resourceVersion": str(version)},
        "data": data,
    }


class Script:
    """Answers lists and watches from prepared lines."""

    def __init__(self, lists, watches):
        self.lists, self.watches = list(lists), list(watches)
        self.asked = []

    async def request(self, method, path, *, query=(), headers=None, body=b"", timeout_s=None):
        self.asked.append(("list", dict(query)))
        items, version = self.lists.pop(0)
        tree = {"metadata": {"resourceVersion": str(version)}, "items": items}
        return Answer(200, {}, orjson.dumps(tree))

    async def stream(self, method, path, *, query=(), headers=None, body=b""):
        self.asked.append(("watch", dict(query)))
        if not self.watches:
            await asyncio.Event().wait()
        return Frames(self.watches.pop(0))


class Frames:
    status = 200
    headers = ()

    def __init__(self, events):
        self._events = events

    async def chunks(self):
        for kind, item in self._events:
            yield orjson.dumps({"type": kind, "object": item}) + b"\n"

    async def close(self):
        pass


async def play(script, until):
    informer = Informer(Client(script), ConfigMap)
    informer.add_index("colour", lambda c: (c.data["colour"],) if "colour" in c.data else ())
    seen = []
    done = asyncio.Event()

    def heard(change):
        old = change.old.metadata.resource_version if change.old else None
        new = change.new.metadata.resource_version if change.new else None
        seen.append((change.key, old, new))
        if len(seen) >= until:
            done.set()

    informer.on_event(heard)
    task = asyncio.ensure_future(informer.run())
    async with asyncio.timeout(30):
        await done.wait()
        await asyncio.sleep(0)
    task.cancel()
    return informer, seen


async def test_list_then_watch_in_order():
    script = Script(
        [([config_map("a", 3, colour="red")], 5)],
        [[("MODIFIED", config_map("a", 6, colour="blue")), ("ADDED", config_map("b", 7))]],
    )
    informer, seen = await play(script, 3)
    assert seen == [("d/a", None, "3"), ("d/a", "3", "6"), ("d/b", None, "7")]
    assert [c.metadata.name for c in informer.by_index("colour", "blue")] == ["a"]
    assert informer.by_index("colour", "red") == []
    assert script.asked[1][1]["resourceVersion"] == "5"


async def test_an_expired_watch_is_followed_by_a_list_and_only_differences_are_told():
    expired = {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old"}
    script = Script(
        [
            ([config_map("a", 3), config_map("b", 4), config_map("c", 4)], 5),
            ([config_map("a", 3), config_map("b", 9)], 10),
        ],
        [[("ERROR", expired)]],
    )
    informer, seen = await play(script, 5)
    assert seen[3:] == [("d/c", "4", None), ("d/b", "4", "9")]
    assert len(informer) == 2


async def test_a_bookmark_moves_the_version_and_tells_nobody():
    script = Script(
        [([], 5)],
        [[("BOOKMARK", config_map("", 50)), ("ADDED", config_map("a", 51))], []],
    )
    informer, seen = await play(script, 1)
    assert seen == [("d/a", None, "51")]
    assert informer.resource_version == "51"


async def test_an_object_that_is_no_such_kind_is_left_out_and_the_others_arrive():
    odd = {**config_map("odd", 3), "data": [1, 2]}
    script = Script(
        [([odd, config_map("a", 4)], 5)],
        [[("ADDED", {**odd, "metadata": {"name": 7}}), ("ADDED", config_map("b", 7))]],
    )
    informer, seen = await play(script, 2)
    assert seen == [("d/a", None, "4"), ("d/b", None, "7")]
    assert informer.get("d/odd") is None


async def test_a_late_handler_hears_of_what_is_there():
    script = Script([([config_map("a", 3)], 5)], [])
    informer, _ = await play(script, 1)
    late = []
    informer.on_event(lambda change: late.append((change.key, change.old)))
    assert late == [("d/a", None)]
