"""Every kind's rules and defaults, against what an upstream v1.36 server answers.

The format is that of :mod:`tests.validation_cases`; ``tools/record_validation.py`` fills in what
a real server says.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import orjson
import pytest
from tests.validation_cases import NAMESPACE, Ask, Got, Play, Script, expected

from kutter.http.messages import Request
from kutter.testing.cluster import ADMIN, LocalCluster

_SERVICES = "10.97.0.0/16"
_FILES = sorted(Path(__file__).parent.glob("*.json"))


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    # The range is that of the server the answers are from.
    with LocalCluster(controllers=False, scheduler=False, service_cidr=_SERVICES) as cluster:
        name = {"kind": "Namespace", "apiVersion": "v1", "metadata": {"name": NAMESPACE}}
        account = {"kind": "ServiceAccount", "apiVersion": "v1", "metadata": {"name": "default"}}
        for path, body in (
            ("/api/v1/namespaces", name),
            (f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts", account),
        ):
            assert cluster.run(_ask(cluster, Ask("POST", path, body))).code == 201
        yield cluster


async def _ask(cluster: LocalCluster, ask: Ask) -> Got:
    sent = {"content-type": ask.media, "accept": "application/json"}
    request = Request(
        method=ask.method,
        path=ask.path,
        raw_query=urlencode(ask.query),
        headers=sent,
        header_list=list(sent.items()),
        body=b"" if ask.body is None else orjson.dumps(ask.body),
        local_user=ADMIN,
    )
    response = await cluster.plane.api.handle(request)
    warnings = tuple(value for name, value in response.headers if name.lower() == "warning")
    try:
        return Got(response.status, orjson.loads(response.body), warnings)
    except orjson.JSONDecodeError:
        return Got(response.status, response.body.decode(), warnings)


async def _run(cluster: LocalCluster, play: Play) -> Any:
    answer: Any = None
    while True:
        try:
            ask = play.send(answer)
        except StopIteration as done:
            return done.value
        answer = await _ask(cluster, ask)


@pytest.mark.parametrize("file", _FILES, ids=lambda file: file.stem)
def test_rules_and_defaults(cluster: LocalCluster, file: Path) -> None:
    tree = json.loads(file.read_text())
    script = Script(tree)

    async def run() -> tuple[Any, Any]:
        await _run(cluster, script.setup())
        created = await _run(cluster, script.create_base())
        found = await _run(cluster, script.play(tree["cases"], tree["created"]))
        await _run(cluster, script.teardown())
        return created, found

    created, found = cluster.run(run(), timeout_s=240)
    wrong = [
        {"case": case, "found": one}
        for case, one in zip(tree["cases"], found, strict=True)
        if one != expected(case)
    ]
    if created != tree["created"]:
        wrong.insert(0, {"case": "the base", "found": created})
    assert not wrong, f"{len(wrong)} of {len(found)}:\n" + "\n".join(
        json.dumps(one) for one in wrong[:400]
    )
