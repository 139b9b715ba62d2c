"""Seeded values: trees by a schema, and what damages a tree, a text or bytes."""

from __future__ import annotations

import copy
import random
from typing import Any

import orjson
import yaml

from kutter.api.schema import Node

TEXTS = (
    "", "a", "web", "default", "kube-system", "A b", "x" * 300, "a/b", "example.com/x", "10.0.0.1",
    "10.0.0.0/8", "None", "Always", "Never", "RollingUpdate", "ClusterIP", "NodePort", "fd00::1",
    "TCP", "Exists", "In", "50%", "*", "../x", "/abs", "Local", "é", "\u0000", "\ud7ff", "🐙",
    "100m", "1Gi", "-1", "9" * 40, "1e400", "2026-01-01T00:00:00Z", "0000-00-00T99:99:99Z",
    "DoNotSchedule", "* * * * *", "true", "null", "{}", "$(A)", "%s%n", "a=b", "a in (b)", ".spec.x",
    "self.x > 0", "object.metadata.name == 'a'", "[.", "{.items[*]}", "Delete", "Foreground",
)  # fmt: skip
NUMBERS = (0, 1, -1, 30, 80, 65536, 2**31 - 1, 2**31, 2**53 + 1, 2**63 - 1, -(2**63))
ODD: tuple[Any, ...] = (None, True, False, [], {}, [[]], [None], {"": None}, 1.5, -0.0, 1e308)
_QUANTITIES = ("0", "1", "-1", "100m", "1Gi", "1.5", "2e3", "1E1000000", "0.0000000001n")
_KEYS = ("cpu", "memory", "a", "a b", "example.com/x", "storage", "hugepages-2Mi", "", "$patch")


def leaf(rng: random.Random) -> Any:
    """Any plain value."""
    return rng.choice((rng.choice(TEXTS), rng.choice(NUMBERS), copy.deepcopy(rng.choice(ODD))))


def made(node: Node, rng: random.Random, depth: int = 0) -> Any:
    """A value of the schema's types, valid or not."""
    match node.type:
        case "object":
            wanted = 0.8 if depth < 2 else 0.3 if depth < 6 else 0.08
            return {
                name: made(field, rng, depth + 1)
                for name, field in node.fields.items()
                if depth < 12 and rng.random() < wanted
            }
        case "map":
            assert node.items is not None
            return {key: made(node.items, rng, depth + 1) for key in rng.sample(_KEYS, 2)}
        case "list":
            assert node.items is not None
            return [made(node.items, rng, depth + 1) for _ in range(rng.randrange(3))]
        case "string":
            return rng.choice(TEXTS)
        case "boolean":
            return rng.random() < 0.5
        case "int32" | "int64":
            return rng.choice(NUMBERS)
        case "double":
            return 1.5
        case "byte":
            return rng.choice(("eA==", "", "!"))
        case "time" | "microtime":
            return rng.choice(("2026-01-01T00:00:00Z", "2026-01-01T00:00:00.000001Z", "x"))
        case "quantity":
            return rng.choice(_QUANTITIES)
        case "intstr":
            return rng.choice((0, 80, "http", "25%", "-"))
        case _:
            return leaf(rng)


def paths(tree: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Where every value of a tree is."""
    found = [path]
    if isinstance(tree, dict):
        for key, value in tree.items():
            found += paths(value, (*path, key))
    elif isinstance(tree, list):
        for index, value in enumerate(tree):
            found += paths(value, (*path, index))
    return found


def damaged(tree: Any, rng: random.Random) -> Any:
    """A copy with one to four places changed."""
    tree = copy.deepcopy(tree)
    for _ in range(rng.randrange(1, 5)):
        places = paths(tree)[1:]
        if not places:
            return leaf(rng)
        *above, last = rng.choice(places)
        at = tree
        for key in above:
            at = at[key]
        match rng.randrange(7):
            case 0:
                at[last] = leaf(rng)
            case 1:
                del at[last]
            case 2:
                at[last] = [at[last], at[last]]
            case 3:
                at[last] = {rng.choice(TEXTS): at[last]}
            case 4 if isinstance(at[last], dict):
                at[last][rng.choice(TEXTS)] = leaf(rng)
            case 5 if isinstance(at[last], list):
                at[last] = at[last] * rng.randrange(4)
            case 6:
                for _ in range(rng.choice((3, 40, 300))):
                    at[last] = [at[last]] if rng.random() < 0.5 else {"a": at[last]}
            case _:
                at[last] = rng.choice(TEXTS)
    return tree


def encoded(tree: Any, rng: random.Random) -> tuple[bytes, str]:
    """A body and its media type, sometimes damaged."""
    try:
        plain = orjson.dumps(tree)
    except (TypeError, orjson.JSONEncodeError):
        plain = b"{}"
    media = "application/json"
    if rng.random() < 0.15:
        media = "application/yaml"
        try:
            plain = yaml.safe_dump(orjson.loads(plain)).encode()
        except (yaml.YAMLError, orjson.JSONDecodeError):
            media = "application/json"
    if rng.random() < 0.12:
        plain = damaged_bytes(plain, rng)
    return plain, media


def damaged_bytes(data: bytes, rng: random.Random) -> bytes:
    """Cut, flipped, doubled or prefixed."""
    at = rng.randrange(len(data) + 1)
    match rng.randrange(6):
        case 0:
            return data[:at]
        case 1:
            return data[:at] + bytes([rng.randrange(256)]) + data[at + 1 :]
        case 2:
            return data[:at] + data
        case 3:
            return b"\xef\xbb\xbf" + data
        case 4:
            return data[:at] + rng.randbytes(8) + data[at:]
        case _:
            return b"k8s\x00" + data
