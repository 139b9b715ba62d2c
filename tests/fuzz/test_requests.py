"""A short run of the fuzzer in every test run; ``make fuzz MINUTES=60`` is the long one."""

from __future__ import annotations

import random

import pytest
from tests.fuzz.requests import Requests
from tests.fuzz.runner import Fuzzer, Report

from kutter.api.catalog import BUILTIN
from kutter.testing.cluster import LocalCluster


@pytest.mark.timeout(180)
@pytest.mark.parametrize("seed", ["kept-1", "kept-2"])
def test_odd_requests_get_answers(seed):
    with LocalCluster(nodes=1) as cluster:
        fuzzer = Fuzzer(cluster, seed)
        report: Report = cluster.run(fuzzer.run(lambda r: r.sent < 1500), timeout_s=170)
    told = [f"{f.signature}\n{f.request}\n{f.detail}" for f in report.findings.values()]
    assert not told, "\n\n".join(told)
    # It reaches deep enough to mean something.
    assert report.statuses[201] > 10
    assert report.statuses[200] > 50
    assert report.statuses[422] > 50


def test_a_crash_and_a_hang_are_found():
    """The fuzzer itself: what it looks for does not pass unseen."""
    with LocalCluster() as cluster:
        fuzzer = Fuzzer(cluster, "x")
        handle = cluster.plane.api.handle

        async def broken(request):
            response = await handle(request)
            if request.method == "PUT":
                response.status, response.body = 500, b"{}"
            if request.method == "PATCH":
                response.status, response.body = 404, b"nothing"
            return response

        cluster.plane.api.handle = broken  # type: ignore[method-assign]
        report = cluster.run(fuzzer.run(lambda r: r.sent < 60))
        cluster.plane.api.handle = handle  # type: ignore[method-assign]
    assert any(signature.startswith("500") for signature in report.findings)
    assert any(signature.startswith("404") for signature in report.findings)


def test_a_seed_makes_the_same_requests():
    first, second = Requests(random.Random("s")), Requests(random.Random("s"))
    assert [first.make(BUILTIN) for _ in range(200)] == [second.make(BUILTIN) for _ in range(200)]
