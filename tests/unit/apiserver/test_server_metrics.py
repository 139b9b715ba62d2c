"""What requests leave in /metrics."""

from __future__ import annotations

import pytest

from kutter.apiserver import server_metrics
from kutter.apiserver.request_info import parse_request_info
from kutter.apiserver.server_metrics import ServerMetrics
from kutter.base.metrics import Registry

PODS = "/api/v1/namespaces/default/pods"


def seen(metrics: ServerMetrics) -> dict[str, int]:
    lines = metrics.registry.render().decode().splitlines()
    found = [line.rpartition(" ") for line in lines if line.startswith("apiserver_request_total{")]
    return {series.partition("{")[2][:-1]: int(count) for series, _, count in found}


def observe(metrics: ServerMetrics, method: str, path: str, status: int = 200) -> None:
    metrics.observe(parse_request_info(method, path, {}), status, 0.01)


def series(verb: str, resource: str, scope: str, code: int) -> str:
    return (
        f'verb="{verb}",group="",version="v1",resource="{resource}",subresource="",'
        f'scope="{scope}",code="{code}"'
    )


def test_requests_are_counted_by_what_they_ask_for() -> None:
    metrics = ServerMetrics(Registry())
    for name in ("a", "b"):
        observe(metrics, "GET", f"{PODS}/{name}")
    observe(metrics, "GET", f"{PODS}/a", 404)
    observe(metrics, "GET", PODS)
    observe(metrics, "GET", "/api/v1/pods")
    observe(metrics, "DELETE", f"{PODS}/a")
    observe(metrics, "GET", "/livez")
    assert seen(metrics) == {
        series("GET", "pods", "resource", 200): 2,
        series("GET", "pods", "resource", 404): 1,
        series("LIST", "pods", "namespace", 200): 1,
        series("LIST", "pods", "cluster", 200): 1,
        series("DELETE", "pods", "resource", 200): 1,
        'verb="GET",group="",version="",resource="",subresource="",scope="",code="200"': 1,
    }
    assert b"apiserver_request_duration_seconds_count" in metrics.registry.render()


def test_callers_cannot_grow_the_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_metrics, "_SERIES_MAX", 10)
    metrics = ServerMetrics(Registry())
    for number in range(100):
        observe(metrics, "GET", f"/api/v1/invented{number}/x", 403)
    found = seen(metrics)
    assert len(found) == 11
    assert sum(found.values()) == 100
    observe(metrics, "GET", "/api/v1/invented0/x", 403)
    assert sum(seen(metrics).values()) == 101
