"""Trees seen through what a schema says of them. Thin: values are made when they are asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from kutter.api.cel.types import Type
from kutter.api.cel.values import ListValue, MapValue, equal

Wrap = Callable[[Any], Any]


class ItemList(ListValue):
    """A list whose items are made when asked for."""

    __slots__ = ("_items", "_wrap")

    def __init__(self, items: list[Any], wrap: Wrap | None) -> None:
        self._items = items
        self._wrap = wrap

    def __len__(self) -> int:
        return len(self._items)

    def __getitem__(self, index: int) -> Any:
        item = self._items[index]
        return item if self._wrap is None or item is None else self._wrap(item)

    def __iter__(self) -> Iterator[Any]:
        if self._wrap is None:
            return iter(self._items)
        return map(self.__getitem__, range(len(self._items)))


class SetList(ItemList):
    """A list of type set: order is nothing, ``+`` is the union."""

    __slots__ = ()

    def equals(self, other: Any) -> bool:
        return all(any(equal(item, mine) for mine in self) for item in other)

    def plus(self, other: Any) -> Any:
        items = list(self)
        return [*items, *(item for item in other if not any(equal(item, i) for i in items))]


class KeyedList(ItemList):
    """A list of type map: items are told apart by their keys, ``+`` replaces by key."""

    __slots__ = ("_keys",)

    def __init__(self, items: list[Any], wrap: Wrap | None, keys: tuple[str, ...]) -> None:
        super().__init__(items, wrap)
        self._keys = keys

    def _key(self, item: Any) -> tuple[Any, ...]:
        find = item.get if type(item) is dict else lambda key: item.find(key, None)
        return tuple(repr(find(key)) for key in self._keys)

    def _by_key(self, items: Any) -> dict[tuple[Any, ...], Any]:
        return {self._key(item): item for item in items}

    def equals(self, other: Any) -> bool:
        mine, theirs = self._by_key(self), self._by_key(other)
        return mine.keys() == theirs.keys() and all(equal(mine[k], theirs[k]) for k in mine)

    def plus(self, other: Any) -> Any:
        return list((self._by_key(self) | self._by_key(other)).values())


class ValueMap(MapValue):
    """A map of text keys whose values are made when asked for."""

    __slots__ = ("_tree", "_wrap")

    def __init__(self, tree: dict[str, Any], wrap: Wrap) -> None:
        self._tree = tree
        self._wrap = wrap

    def __len__(self) -> int:
        return len(self._tree)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._tree)

    def find(self, key: Any, missing: Any) -> Any:
        found = self._tree.get(key, missing) if type(key) is str else missing
        return found if found is missing or found is None else self._wrap(found)


class ObjectValue(MapValue):
    """A tree seen through its object type; only fields the type knows are there."""

    __slots__ = ("tree", "type")

    def __init__(self, tree: dict[str, Any], type: Type) -> None:
        self.tree = tree
        self.type = type

    def __len__(self) -> int:
        return len(self.tree)

    def __iter__(self) -> Iterator[Any]:
        tree, fields = self.tree, self.type.fields or {}
        return (name for name, field in fields.items() if tree.get(field.name) is not None)

    def find(self, key: Any, missing: Any) -> Any:
        field = self.type.field(key)
        if field is None:
            return missing
        found = self.tree.get(field.name)
        if found is None:
            return missing
        wrap = field.type.wrap
        return found if wrap is None else wrap(found)
