"""Hold the protobuf codec against upstream's own fixtures, byte by byte.

    python tools/check_protobuf_fixtures.py FOLDER

FOLDER is ``testdata/HEAD`` of a checkout of ``k8s.io/api`` v0.36: one object per kind with every
field set, as JSON and as protobuf. Each of a kind we serve has to decode to the JSON and encode
to the bytes. Run by hand when tables change; the fixtures are upstream's and not kept here.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import orjson

from kutter.api.protobuf import ProtobufError, decode_object, encode_object, message_of


def without_nulls(value: Any) -> Any:
    """What JSON shows as null is absent in our trees, but for a map's items."""
    if isinstance(value, dict):
        return {k: without_nulls(v) for k, v in value.items() if v is not None or k == IN_MAP}
    return [without_nulls(item) for item in value] if isinstance(value, list) else value


# The one map of the fixtures with a null in it (a time nobody set).
IN_MAP = "disruptedPodsKey"


def check(path: Path) -> str:
    """What is wrong, empty for nothing."""
    tree, data = orjson.loads(path.with_suffix(".json").read_bytes()), path.read_bytes()
    try:
        if decode_object(data) != without_nulls(tree):
            return "decodes to another tree"
        if encode_object(tree) != data:
            return "encodes to other bytes"
    except ProtobufError as error:
        return str(error)
    return ""


def main(folder: Path) -> int:
    checked, wrong = 0, 0
    for path in sorted(folder.glob("*.pb")):
        tree = orjson.loads(path.with_suffix(".json").read_bytes())
        if message_of(tree.get("apiVersion", ""), tree.get("kind", "")) is None:
            continue
        checked += 1
        found = check(path)
        if found:
            wrong += 1
            print(f"{path.name}: {found}")
    print(f"{checked} kinds, {wrong} wrong")
    return 1 if wrong or not checked else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
