"""Path elements as FieldsV1 writes them: ``f:name``, ``k:{"name":"c"}``, ``v:"x"``, ``i:0``.

One text per element, so that texts compare as elements do: keys sorted by name, JSON as Go
renders it (``<``, ``>`` and ``&`` escaped), whole numbers without a fraction.
"""

from __future__ import annotations

import math
from typing import Any

import orjson

from kutter.api.quoting import quote
from kutter.base.memo import remember

_RANKS = {".": 0, "f": 1, "k": 2, "v": 3, "i": 4}
_ESCAPES = (
    ("<", "\\u003c"),
    (">", "\\u003e"),
    ("&", "\\u0026"),
    ("\u2028", "\\u2028"),
    ("\u2029", "\\u2029"),
)


class ElementError(ValueError):
    """A text that is no path element, or a list item that has none."""


def render_json(value: Any) -> str:
    """A value as Go's encoder writes it."""
    return _render_text(value) if type(value) is str else _render(value)


@remember(4096)
def _render_text(text: str) -> str:
    # Names of keys and of items: few, and the same in object after object.
    return _render(text)


def _render(value: Any) -> str:
    if type(value) is float and value.is_integer() and abs(value) < 1e15:
        value = int(value)
    text = orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()
    if "<" in text or ">" in text or "&" in text or not text.isascii():
        for plain, escaped in _ESCAPES:
            text = text.replace(plain, escaped)
    return text


def key_element(fields: dict[str, Any]) -> str:
    """The element of an item of an associative list."""
    if len(fields) == 1:
        ((name, value),) = fields.items()
        return f"k:{{{render_json(name)}:{render_json(value)}}}"
    parts = [f"{render_json(name)}:{render_json(fields[name])}" for name in sorted(fields)]
    return f"k:{{{','.join(parts)}}}"


def value_element(value: Any) -> str:
    """The element of an item of a set."""
    return "v:" + render_json(value)


def parse_element(text: str) -> str:
    """``text`` in its one form; ``""`` for a sort of element nobody knows (to be ignored).

    Raises ElementError for what is no element.
    """
    if len(text) < 2:
        raise ElementError("key must be 2 characters long:")
    if text[1] != ":":
        raise ElementError(f"missing colon: {text}")
    sort, rest = text[0], text[2:]
    if sort == "f":
        return text
    if sort == "i":
        if not rest.removeprefix("-").isdecimal():
            raise ElementError(f'strconv.Atoi: parsing "{rest}": invalid syntax')
        return f"i:{int(rest)}"
    if sort not in "kv":
        return ""
    try:
        value = orjson.loads(rest)
    except ValueError as error:
        raise ElementError(str(error)) from error
    if sort == "v":
        return value_element(value)
    if not isinstance(value, dict):
        raise ElementError(f"not an object: {text}")
    return key_element(value)


def order(text: str) -> tuple[Any, ...]:
    """The sort key of an element: ``.``, then fields, keys, values and indices."""
    sort = text[0]
    if sort == "k":
        fields = orjson.loads(text[2:])
        return (2, [(name, _value_order(fields[name])) for name in sorted(fields)])
    if sort == "v":
        return (3, _value_order(orjson.loads(text[2:])))
    if sort == "i":
        return (4, int(text[2:]))
    return (_RANKS[sort], text)


def _value_order(value: Any) -> tuple[Any, ...]:
    if isinstance(value, bool):
        return (2, value)
    if isinstance(value, int | float):
        return (0, value)
    if isinstance(value, str):
        return (1, value)
    return (3, render_json(value))


def shown(text: str) -> str:
    """An element as conflict messages show it: ``.spec``, ``[name="c"]``, ``[="x"]``."""
    sort, rest = text[0], text[2:]
    if sort == "f":
        return "." + rest
    if sort == "k":
        fields = orjson.loads(rest)
        return f"[{','.join(f'{name}={_shown_value(fields[name])}' for name in sorted(fields))}]"
    if sort == "v":
        return f"[={_shown_value(orjson.loads(rest))}]"
    return f"[{rest}]"


def shown_path(path: tuple[str, ...]) -> str:
    return "".join(shown(element) for element in path)


def _shown_value(value: Any) -> str:
    if isinstance(value, str):
        return quote(value)
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and math.isfinite(value):
        return f"{value:g}"
    return str(value)
