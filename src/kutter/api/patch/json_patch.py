"""JSON Patch, RFC 6902, with the texts and the leniencies of the library upstream uses.

Leniencies: a negative index counts from the end of a list; testing a missing path for null
passes; replacing or copying a key an object has not takes it for null, and so is a value that is
not given; what comes before a path's first slash does not count. Containers are copied when first
changed, each once however many operations touch it.
"""

from __future__ import annotations

from typing import Any

from kutter.api.patch.errors import PatchError, copy_tree, depth_guarded

OPERATIONS_LIMIT = 10_000

_MISSING = object()


@depth_guarded
def apply_json_patch(document: Any, operations: list[Any]) -> Any:
    """``document`` after all operations. Raises PatchError at the first that does not apply."""
    if len(operations) > OPERATIONS_LIMIT:
        raise PatchError(
            f"The allowed maximum operations in a JSON patch is {OPERATIONS_LIMIT},"
            f" got {len(operations)}",
            413,
        )
    return _Patching(document).run(operations)


class _Patching:
    def __init__(self, document: Any) -> None:
        self._document = document
        # Containers that are ours to change, by identity; kept alive so that ids stay theirs.
        self._owned: dict[int, Any] = {}

    def run(self, operations: list[Any]) -> Any:
        for operation in operations:
            if type(operation) is not dict:
                raise PatchError("json: cannot unmarshal into Go value of type jsonpatch.Operation")
            kind = operation.get("op")
            match kind:
                case "add":
                    self._add(operation)
                case "remove":
                    self._remove(operation)
                case "replace":
                    self._replace(operation)
                case "move":
                    self._move(operation)
                case "copy":
                    self._copy(operation)
                case "test":
                    self._test(operation)
                case _:
                    unknown = kind if isinstance(kind, str) else "unknown"
                    raise PatchError(f"Unexpected kind: {unknown}")
        return self._document

    def _add(self, operation: dict[str, Any]) -> None:
        path = _text(operation, "path")
        value = copy_tree(operation.get("value"))
        holder, key = self._own_holder(path)
        if holder is None:
            raise PatchError(
                f'add operation does not apply: doc is missing path: "{path}": missing value'
            )
        self._insert(holder, key, value, f"error in add for path: '{path}'")

    def _remove(self, operation: dict[str, Any]) -> None:
        path = _text(operation, "path")
        holder, key = self._own_holder(path)
        if holder is None:
            raise PatchError(
                f'remove operation does not apply: doc is missing path: "{path}": missing value'
            )
        self._delete(holder, key, f"error in remove for path: '{path}'")

    def _replace(self, operation: dict[str, Any]) -> None:
        path = _text(operation, "path")
        if path == "":
            self._document = copy_tree(operation.get("value"))
            return
        holder, key = self._own_holder(path)
        if holder is None:
            raise PatchError(
                f"replace operation does not apply: doc is missing path: {path}: missing value"
            )
        if type(holder) is not dict and _get(holder, key) is _MISSING:
            raise PatchError(
                f"replace operation does not apply: doc is missing key: {path}: missing value"
            )
        holder[_index(holder, key)] = copy_tree(operation.get("value"))

    def _move(self, operation: dict[str, Any]) -> None:
        source = _text(operation, "from")
        target = _text(operation, "path")
        holder, key = self._own_holder(source)
        if holder is None:
            raise PatchError(
                f"move operation does not apply: doc is missing from path: {source}: missing value"
            )
        value = _get(holder, key)
        self._delete(holder, key, f"error in move for path: '{key}'")
        self._put(target, value, "move")

    def _copy(self, operation: dict[str, Any]) -> None:
        source = _text(operation, "from")
        holder, key = self._find_holder(source)
        if holder is None:
            raise PatchError(
                f"copy operation does not apply: doc is missing from path: {source}: missing value"
            )
        value = _get(holder, key)
        if value is _MISSING and type(holder) is dict:
            value = None
        if value is _MISSING:
            raise PatchError(f"error in copy for from: '{source}': {_absent(holder, key)}")
        # A real copy: the two places may be changed apart from each other later on.
        self._put(_text(operation, "path"), copy_tree(value), "copy")

    def _put(self, path: str, value: Any, verb: str) -> None:
        if path == "":
            self._document = value
            return
        holder, key = self._own_holder(path)
        if holder is None:
            raise PatchError(
                f"{verb} operation does not apply: doc is missing destination path: {path}: "
                "missing value"
            )
        self._insert(holder, key, value, f"error in {verb} for path: '{path}'")

    def _test(self, operation: dict[str, Any]) -> None:
        path = _text(operation, "path")
        wanted = operation.get("value")
        if path == "":
            found = self._document
        else:
            holder, key = self._find_holder(path)
            if holder is None:
                raise PatchError(
                    f"test operation does not apply: is missing path: {path}: missing value"
                )
            found = _get(holder, key)
            if found is _MISSING:
                found = None
        if not same(found, wanted):
            raise PatchError(f"testing value {path} failed: test failed")

    def _find_holder(self, path: str) -> tuple[Any, str]:
        """The container that holds the path's last key; None when there is none."""
        keys = _keys(path)
        if not keys:
            return None, ""
        here = self._document
        for key in keys[:-1]:
            here = _get(here, key)
        return (here, keys[-1]) if type(here) in (dict, list) else (None, keys[-1])

    def _own_holder(self, path: str) -> tuple[Any, str]:
        """Like :meth:`_find_holder`, with everything on the way made ours."""
        keys = _keys(path)
        if not keys or self._find_holder(path)[0] is None:
            return None, ""
        here = self._document = self._own(self._document)
        for key in keys[:-1]:
            below = self._own(_get(here, key))
            here[_index(here, key)] = below
            here = below
        return here, keys[-1]

    def _own(self, container: Any) -> Any:
        if id(container) in self._owned:
            return container
        ours = container.copy()
        self._owned[id(ours)] = ours
        return ours

    def _insert(self, holder: Any, key: str, value: Any, where: str) -> None:
        if type(holder) is dict:
            holder[key] = value
            return
        if key == "-":
            holder.append(value)
            return
        try:
            index = int(key)
        except ValueError:
            raise PatchError(
                f"{where}: value was not a proper array index: '{key}': "
                f'strconv.Atoi: parsing "{key}": invalid syntax'
            ) from None
        size = len(holder) + 1
        if not -size <= index < size:
            raise PatchError(
                f"{where}: Unable to access invalid index: {index}: invalid index referenced"
            )
        holder.insert(index + size if index < 0 else index, value)

    def _delete(self, holder: Any, key: str, where: str) -> None:
        if _get(holder, key) is _MISSING:
            raise PatchError(f"{where}: {_absent(holder, key)}")
        del holder[_index(holder, key)]


def _absent(holder: Any, key: str) -> str:
    if type(holder) is dict:
        return f"Unable to remove nonexistent key: {key}: missing value"
    if _integer(key) is None:
        return f'strconv.Atoi: parsing "{key}": invalid syntax'
    return f"Unable to access invalid index: {key}: invalid index referenced"


def _integer(key: str) -> int | None:
    digits = key.removeprefix("-")
    return int(key) if digits.isascii() and digits.isdigit() and len(digits) < 10 else None


def _get(container: Any, key: str) -> Any:
    if type(container) is dict:
        return container.get(key, _MISSING)
    if type(container) is list:
        index = _integer(key)
        if index is not None and -len(container) <= index < len(container):
            return container[index]
    return _MISSING


def _index(container: Any, key: str) -> Any:
    return key if type(container) is dict else int(key)


def _keys(path: str) -> list[str]:
    """The keys of a JSON pointer; none for a path without a slash."""
    _, *keys = path.split("/")
    return [key.replace("~1", "/").replace("~0", "~") for key in keys]


def _text(operation: dict[str, Any], name: str) -> str:
    value = operation.get(name)
    if isinstance(value, str):
        return value
    verb = operation["op"]
    what = "missing from field" if name == "from" else "missing path field"
    raise PatchError(f"{verb} operation failed to decode {name}: operation {what}: missing value")


def same(left: Any, right: Any) -> bool:
    """Whether two JSON values are equal; unlike in Python, true is not 1."""
    if type(left) is dict and type(right) is dict:
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    if type(left) is list and type(right) is list:
        return len(left) == len(right) and all(map(same, left, right))
    if type(left) is bool or type(right) is bool:
        return left is right
    return bool(left == right)
