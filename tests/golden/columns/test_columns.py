"""The columns of every kind a client can list, against upstream's v1.36 printers.

``v1.36.json`` holds name, type, format and priority of each column (descriptions are prose and
are our own). Kinds upstream gives no printer have Name and Created At.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from kutter.api.catalog import BUILTIN
from kutter.api.resources import Resource
from kutter.apiserver.encoders import PlainPrinter
from kutter.apiserver.printing.registry import printer_for

_UPSTREAM: dict[str, list[list[Any]]] = json.loads(
    (Path(__file__).parent / "v1.36.json").read_text()
)
_LISTED = [resource for resource in BUILTIN if "list" in resource.verbs]


@pytest.mark.parametrize("resource", _LISTED, ids=lambda r: f"{r.group_resource}-{r.version}")
def test_columns(resource: Resource) -> None:
    printer = printer_for(resource) or PlainPrinter()
    ours = [[c["name"], c["type"], c["format"], c["priority"]] for c in printer.columns]
    assert ours == _UPSTREAM[resource.kind]
    assert all(column["description"] for column in printer.columns)


def test_every_printer_of_upstream_is_compared() -> None:
    assert {resource.kind for resource in _LISTED} == set(_UPSTREAM)
