"""Between the versions of a custom kind, and between what is stored and today's schema.

With the strategy None versions differ in apiVersion and in what their schemas keep; nothing
ever waits. With a webhook (:mod:`kutter.apiserver.custom.conversion_webhook`) an object keeps
the version it is stored in until it is read in another one. As upstream: what is stored is
pruned and filled in by the schema of its own version, what comes out of a conversion is pruned
by the schema of the version wanted, and nothing is filled in there.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence

import orjson

from kutter.api.custom.defaults import compile_defaults
from kutter.api.custom.definition import DefinedVersion, Definition
from kutter.api.schema.walk import Mismatch
from kutter.apiserver.cache import Entry, encode_tail, head_of
from kutter.apiserver.converting import Converter, Made
from kutter.apiserver.ports import Tree
from kutter.base.memo import exact

CACHE_LIMIT_BYTES = 64 << 20
# What an entry costs beside its bytes, so that tiny objects are bounded too.
_ENTRY_BYTES = 512


class ConvertedEntries:
    """Converted objects by what they were made of, the least recently used given up first.

    One for all kinds of a server; the owner's id keeps kinds and versions apart.
    """

    def __init__(self, limit_bytes: int = CACHE_LIMIT_BYTES) -> None:
        self._limit_bytes = limit_bytes
        self._held: OrderedDict[tuple[int, object], tuple[Entry, int]] = OrderedDict()
        self._size_bytes = 0
        self._owners = 0

    def __len__(self) -> int:
        return len(self._held)

    def new_owner(self) -> int:
        self._owners += 1
        return self._owners

    def get(self, owner: int, key: object) -> Entry | None:
        found = self._held.get((owner, key))
        if found is None:
            return None
        self._held.move_to_end((owner, key))
        return found[0]

    def put(self, owner: int, key: object, entry: Entry, *, key_bytes: int = 0) -> None:
        if (owner, key) in self._held:
            return
        size = len(entry.tail) + key_bytes + _ENTRY_BYTES
        self._held[owner, key] = entry, size
        self._size_bytes += size
        while self._size_bytes > self._limit_bytes:
            _, (_, dropped) = self._held.popitem(last=False)
            self._size_bytes -= dropped


def pruned(version: DefinedVersion, tree: Tree) -> Tree:
    """``tree`` (changed in place) without what a version's schema does not know."""
    try:
        version.node.visit(tree, None)
    except Mismatch:
        # Metadata an older server let through; shown as it is.
        return tree
    return tree


class StoredForm:
    """What values of one definition look like when read: pruned, filled in, under which head."""

    def __init__(self, definition: Definition) -> None:
        self._stored = definition.stored
        # Without a webhook the versions differ in name only, so all is shown as stored today.
        self._keeps_version = definition.converts
        self._head = head_of(definition.stored.resource)
        self._versions = {
            version.resource.api_version: (
                version,
                head_of(version.resource),
                compile_defaults(version.schema),
            )
            for version in definition.versions
        }

    def refine(self, value: bytes) -> tuple[bytes, bytes]:
        """A stored value's head, and the value as it is read."""
        tree = orjson.loads(value)
        stored = self._stored.resource.api_version
        found = str(tree.get("apiVersion") or "")
        if found not in self._versions:
            found = stored
        version, head, fill = self._versions[found]
        fill(pruned(version, tree))
        if found != stored and not self._keeps_version:
            version, head = self._stored, self._head
            pruned(version, tree)
        tree["kind"], tree["apiVersion"] = version.resource.kind, version.resource.api_version
        refined = exact(orjson.dumps(tree))
        return head, value if refined == value else refined


class PlainConverter:
    """A version beside the stored one under the strategy None: another head, maybe less in it."""

    def __init__(
        self, version: DefinedVersion, definition: Definition, held: ConvertedEntries
    ) -> None:
        self._version = version
        self._stored = definition.stored
        self._all = {v.resource.api_version: v for v in definition.versions}
        self._head = head_of(version.resource)
        self._alike = version.schema == definition.stored.schema
        self._held = held
        self._owner = held.new_owner()

    def ready(self, entry: Entry) -> Entry:
        if self._alike:
            return Entry(self._head, entry.tail, entry.namespace, entry.name, entry.revision)
        key = (entry.key, entry.revision)
        found = self._held.get(self._owner, key)
        if found is None:
            tail = encode_tail(pruned(self._version, entry.whole_tree), entry.revision)
            found = Entry(self._head, tail, entry.namespace, entry.name, entry.revision)
            self._held.put(self._owner, key, found)
        return found

    async def entries(self, entries: Sequence[Entry]) -> list[Entry]:
        return [self.ready(entry) for entry in entries]

    async def to_stored(self, tree: Tree) -> Tree:
        if self._alike:
            return tree
        # Owners come encoded, and no schema has a say in them.
        owners = tree["metadata"].pop("managedFields", None)
        pruned(self._stored, tree)
        if owners is not None:
            tree["metadata"]["managedFields"] = owners
        return tree

    def translate(self, tree: Tree, api_version: str) -> Tree:
        copied: Tree = orjson.loads(orjson.dumps(tree))
        if (version := self._all.get(api_version)) is not None:
            pruned(version, copied)
        copied["apiVersion"] = api_version
        return copied

    async def run(self, step: Callable[[], Made]) -> Made:
        return step()


def plain_converter(
    version: DefinedVersion, definition: Definition, held: ConvertedEntries
) -> Converter | None:
    """The converter of a version under the strategy None; None where nothing is to be done."""
    if version is definition.stored:
        return None
    return PlainConverter(version, definition, held)
