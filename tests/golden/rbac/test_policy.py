"""The default RBAC policy against upstream's of v1.36, rule by rule.

``v1.36.json`` holds the roles and bindings upstream's own tests compare its policy with, default
feature gates. Every object there has the label and the annotation that are checked below once.
Kutter may add objects of its own, under names that say so, and nothing else.
"""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from kutter.apiserver.authz.policy import default_objects

Tree = dict[str, Any]

_UPSTREAM: dict[str, list[Tree]] = json.loads((Path(__file__).parent / "v1.36.json").read_text())


def _key(kind: str, tree: Tree) -> tuple[str, str, str]:
    return kind, tree.get("namespace", ""), tree["name"]


_OURS = {_key(tree["kind"], tree["metadata"]): tree for tree in default_objects()}
_THEIRS = {_key(kind, tree): tree for kind, trees in _UPSTREAM.items() for tree in trees}


def _grants(rules: list[Tree]) -> set[tuple[str, ...]]:
    """What rules allow, one tuple for each group, resource, verb and name."""
    found: set[tuple[str, ...]] = set()
    for rule in rules:
        if "nonResourceURLs" in rule:
            found.update(product(("url",), rule["nonResourceURLs"], rule["verbs"]))
            continue
        names = rule.get("resourceNames") or [""]
        found.update(product(rule["apiGroups"], rule["resources"], rule["verbs"], names))
    return found


@pytest.mark.parametrize("key", _THEIRS, ids="/".join)
def test_object(key: tuple[str, str, str]) -> None:
    theirs, ours = _THEIRS[key], _OURS[key]
    metadata = ours["metadata"]
    assert metadata["annotations"] == {"rbac.authorization.kubernetes.io/autoupdate": "true"}
    labels = {"kubernetes.io/bootstrapping": "rbac-defaults", **theirs.get("labels", {})}
    assert metadata["labels"] == labels
    assert ours.get("aggregationRule") == theirs.get("aggregationRule")
    assert ours.get("roleRef") == theirs.get("roleRef")
    assert ours.get("subjects", []) == theirs.get("subjects", [])
    assert _grants(ours.get("rules", [])) == _grants(theirs.get("rules", []))


def test_nothing_is_added_but_our_own() -> None:
    for kind, namespace, name in _OURS.keys() - _THEIRS.keys():
        assert name.startswith("kutter:"), (kind, namespace, name)
    assert len(_THEIRS) == 133
