"""Cases of validation and defaults: changes of a manifest, and what a server answers to them.

A file ``golden/validation/<kind>.json`` holds a kind's ``path``, its ``base`` manifest, ``needs``
(objects that have to be there before), ``created`` (the answer to a dry-run POST of the base) and
``cases``. A case says what to ``do`` (``create``, ``update``, ``patch`` or a subresource), the
changes to make (``set`` and ``drop``, by JSON pointer), the ``query`` if any and, for what changes
an object, how the object comes to be (``from``: changes of the base; ``was``: changes written
through the subresource); one that does ``post`` sends a ``body`` to the subresource ``sub``. What
is expected: ``causes`` (field, type, message) of a 422 whose message follows from them; ``code``, ``reason``, ``message`` and ``details`` of other refusals; for what is
accepted, ``answer``: where the answer differs from what was predicted. Nothing said: accepted as
predicted. ``warnings`` are those of the ``Warning`` headers.

Everything here is pure: :func:`play` asks for requests and is sent their answers.
"""

from __future__ import annotations

import copy
import itertools
import json
import re
from collections.abc import Generator, Iterable
from dataclasses import dataclass, field
from typing import Any

Tree = dict[str, Any]

NAMESPACE = "golden"
_PATCHES = {
    "json": "application/json-patch+json",
    "merge": "application/merge-patch+json",
    "strategic": "application/strategic-merge-patch+json",
    "apply": "application/apply-patch+yaml",
}
_VOLATILE = ("creationTimestamp", "managedFields", "resourceVersion", "selfLink", "uid")
_STAMPED = ("lastPhaseTransitionTime",)
_GIVEN = "2026-01-31"
_MISSING = object()
_UID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_WRITE_ONLY = ("finalize",)
DRY = {"dryRun": "All"}


@dataclass(frozen=True)
class Ask:
    """One request."""

    method: str
    path: str
    body: Any = None
    query: dict[str, str] = field(default_factory=dict)
    media: str = "application/json"


@dataclass(frozen=True)
class Got:
    """What was answered."""

    code: int
    tree: Any
    warnings: tuple[str, ...] = ()


Play = Generator[Ask, Got, Any]


def _keys(pointer: str) -> list[str]:
    return [key.replace("~1", "/").replace("~0", "~") for key in pointer.split("/")[1:]]


def put(tree: Any, pointer: str, value: Any) -> None:
    """Set what the pointer names; missing objects on the way are made, ``-`` appends."""
    keys = _keys(pointer)
    for key, following in itertools.pairwise(keys):
        if isinstance(tree, list):
            tree = tree[int(key)]
            continue
        if not isinstance(tree.get(key), dict | list):
            tree[key] = [] if following == "-" else {}
        tree = tree[key]
    if not isinstance(tree, list):
        tree[keys[-1]] = value
    elif keys[-1] == "-":
        tree.append(value)
    else:
        tree[int(keys[-1])] = value


def remove(tree: Any, pointer: str) -> None:
    """Take out what the pointer names, if it is there."""
    *keys, last = _keys(pointer)
    for key in keys:
        tree = tree[int(key)] if isinstance(tree, list) else tree.get(key)
        if tree is None:
            return
    if isinstance(tree, list):
        del tree[int(last)]
    else:
        tree.pop(last, None)


def changed(tree: Tree, case: Tree) -> Tree:
    """A copy with the case's changes made."""
    tree = copy.deepcopy(tree)
    for pointer, value in (case.get("set") or {}).items():
        put(tree, pointer, copy.deepcopy(value))
    for pointer in case.get("drop") or ():
        remove(tree, pointer)
    return tree


def differences(wanted: Any, found: Any, pointer: str = "") -> Tree:
    """Where ``found`` is not ``wanted``: its value by pointer, null where it has none."""
    if wanted is not _MISSING and wanted == found and type(wanted) is type(found):
        return {}
    if isinstance(wanted, dict) and isinstance(found, dict):
        listed: Tree = {}
        for key in sorted(wanted.keys() | found.keys()):
            below = f"{pointer}/{key.replace('~', '~0').replace('/', '~1')}"
            listed |= differences(wanted.get(key, _MISSING), found.get(key, _MISSING), below)
        return listed
    if isinstance(wanted, list) and isinstance(found, list) and len(wanted) == len(found):
        listed = {}
        for index, (one, other) in enumerate(zip(wanted, found, strict=True)):
            listed |= differences(one, other, f"{pointer}/{index}")
        return listed
    return {pointer: None if found is _MISSING else found}


def _steady(value: Any, uid: str) -> Any:
    """Without what is new each time."""
    if isinstance(value, dict):
        return {_steady(k, uid): _steady(v, uid) for k, v in value.items()}
    if isinstance(value, list):
        return [_steady(item, uid) for item in value]
    return value.replace(uid, "<uid>") if uid and isinstance(value, str) else value


def steady(tree: Tree) -> Tree:
    metadata = tree.get("metadata") or {}
    tree = _steady(tree, metadata.get("uid") or "")
    status = tree.get("status")
    # Times the server gives; cases give such of another day.
    for name in _STAMPED if isinstance(status, dict) else ():
        if str(status.get(name, _GIVEN)) > _GIVEN:
            status[name] = "<now>"
    for name in _VOLATILE:
        (tree.get("metadata") or {}).pop(name, None)
    return tree


class Script:
    """One file's cases against one server; ``play`` answers what was found, case by case."""

    def __init__(self, tree: Tree, namespace: str = NAMESPACE) -> None:
        self.tree = tree
        self.namespace = namespace
        self.path: str = self._placed(tree["path"])
        self.base: Tree = self._placed(tree["base"])
        self.name: str = self.base["metadata"].get("name", "")
        # Where there is no dry run, and nothing is stored (reviews).
        self.fleeting: bool = tree.get("fleeting", False)

    def _placed(self, value: Any) -> Any:
        return json.loads(json.dumps(value).replace(NAMESPACE, self.namespace))

    def setup(self) -> Play:
        for need in self.tree.get("needs") or ():
            need = self._placed(need)
            got = yield Ask("POST", need["path"], need["body"])
            assert got.code in (201, 409), got.tree

    def teardown(self) -> Play:
        for need in reversed(self.tree.get("needs") or ()):
            need = self._placed(need)
            yield from self._vanish(f"{need['path']}/{need['body']['metadata']['name']}")

    def _vanish(self, path: str) -> Play:
        got = yield Ask(
            "DELETE", path, {"propagationPolicy": "Background", "gracePeriodSeconds": 0}
        )
        if got.code == 200 and (got.tree.get("metadata") or {}).get("finalizers"):
            nothing = {"metadata": {"finalizers": None}}
            yield Ask("PATCH", path, nothing, media=_PATCHES["merge"])

    def create_base(self) -> Play:
        """The answer to the base itself."""
        got = yield Ask("POST", self.path, self.base, {} if self.fleeting else DRY)
        assert got.code in (200, 201), got.tree
        return self._settled(got)

    def _settled(self, got: Got) -> Tree:
        text = json.dumps(steady(got.tree))
        return json.loads(text.replace(self.namespace, NAMESPACE))

    def play(self, cases: Iterable[Tree], created: Tree) -> Play:
        """What the server makes of each case, in the form of the case's expectations."""
        found: list[Tree] = []
        standing: tuple[Any, Any] | None = None
        here = f"{self.path}/{self.name}"
        for case in map(self._placed, cases):
            if case["do"] == "create":
                found.append((yield from self._create(case, created)))
                continue
            wanted = (case.get("from"), case.get("was"))
            if standing != wanted:
                if standing is not None:
                    yield from self._vanish(here)
                yield from self._stand(case, here)
                standing = wanted
            found.append((yield from self._change(case, here)))
        if standing is not None:
            yield from self._vanish(here)
        return found

    def _create(self, case: Tree, created: Tree) -> Play:
        sent = changed(self.base, case)
        query = ({} if self.fleeting else DRY) | case.get("query", {})
        got = yield Ask("POST", self.path, sent, query)
        return self._expectation(got, self._predicted(created, case), sent)

    def _predicted(self, created: Tree, case: Tree) -> Tree:
        text = json.dumps(changed(created, case))
        return json.loads(text.replace(self.namespace, NAMESPACE))

    def _stand(self, case: Tree, here: str) -> Play:
        sent = changed(self.base, case.get("from") or {})
        got = yield Ask("POST", self.path, sent)
        assert got.code == 201, (case, got.tree)
        for part, changes in (case.get("was") or {}).items():
            sent = changed(got.tree, changes)
            written = yield Ask("PUT", f"{here}/{part}" if part else here, sent)
            assert written.code == 200, (case, written.tree)

    def _change(self, case: Tree, here: str) -> Play:
        part = case["do"]
        if part == "post":
            got = yield Ask("POST", f"{here}/{case['sub']}", case["body"], DRY)
            return self._expectation(got, {}, case["body"])
        path = here if part in ("update", "patch") else f"{here}/{part}"
        # There is no reading through some.
        got = yield Ask("GET", here if part in _WRITE_ONLY else path)
        assert got.code == 200, (case, got.tree)
        old = got.tree
        if "patch" in case:
            query = dict(DRY)
            if case["type"] == "apply":
                query |= {"fieldManager": "golden", "force": "true"}
            got = yield Ask("PATCH", path, case["patch"], query, _PATCHES[case["type"]])
            return self._expectation(got, self._settled(Got(200, old)), old)
        sent = changed(old, case)
        got = yield Ask("PUT", path, sent, DRY | case.get("query", {}))
        return self._expectation(got, self._settled(Got(200, sent)), sent)

    def _expectation(self, got: Got, predicted: Tree, sent: Tree) -> Tree:
        found: Tree = {"warnings": list(got.warnings)} if got.warnings else {}
        if got.code < 300:
            odd = differences(predicted, self._settled(got))
            return found | ({"answer": odd} if odd else {})
        text = _UID.sub("<uid>", json.dumps(got.tree).replace(self.namespace, NAMESPACE))
        named = json.loads(json.dumps(sent).replace(self.namespace, NAMESPACE))
        return found | refusal(json.loads(text), named)


def refusal(status: Any, sent: Any) -> Tree:
    """A Status in short."""
    if not isinstance(status, dict):
        return {"text": status}
    details = status.get("details") or {}
    causes = [
        [c.get("field"), c.get("reason"), c.get("message")] for c in details.get("causes") or ()
    ]
    short: Tree = {"causes": causes} if causes else {}
    listed = list(dict.fromkeys(f"{field}: {message}" for field, _, message in causes))
    text = listed[0] if len(listed) == 1 else f"[{', '.join(listed)}]"
    kind, group = details.get("kind", ""), details.get("group", "")
    of = f"{kind}.{group}" if group else kind
    plain = f'{of} "{details.get("name", "")}" is invalid: {text}'
    sent = sent if isinstance(sent, dict) else {}
    metadata = sent.get("metadata")
    name = metadata.get("name") if isinstance(metadata, dict) else None
    usual = kind == sent.get("kind") and details.get("name") == name
    if status.get("code") == 422 and usual and status.get("message") == plain:
        return {"causes": [[f, r, _shortened(m)] for f, r, m in causes]} if causes else {}
    rest = {k: v for k, v in details.items() if k != "causes"}
    more = {k: status[k] for k in ("code", "reason", "message") if status.get(k)}
    return short | more | ({"details": rest} if rest else {})


def _shortened(message: str) -> str:
    """Without the comparison of two structs some messages end in: it is not told line by line."""
    first, newline, _ = message.partition("\n")
    return f"{first} ..." if newline else first


def expected(case: Tree) -> Tree:
    """The expectations of a case alone."""
    names = ("answer", "causes", "code", "details", "message", "reason", "text", "warnings")
    return {name: case[name] for name in names if name in case}
