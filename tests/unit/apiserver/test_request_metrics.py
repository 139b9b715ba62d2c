"""What requests leave in /metrics."""

from __future__ import annotations

import pytest

from kutter.apiserver import request_metrics
from kutter.apiserver.request_info import parse_request_info
from kutter.apiserver.request_metrics import RequestMetrics
from kutter.base.metrics import Registry

PODS = "/api/v1/namespaces/default/pods"


def made(*, known: bool = True) -> tuple[RequestMetrics, Registry]:
    registry = Registry()
    return RequestMetrics(registry, lambda *_: known), registry


def seen(registry: Registry) -> dict[str, int]:
    lines = registry.render().decode().splitlines()
    found = [line.rpartition(" ") for line in lines if line.startswith("apiserver_request_total{")]
    return {series.partition("{")[2][:-1]: int(count) for series, _, count in found}


def observe(metrics: RequestMetrics, method: str, path: str, status: int = 200) -> None:
    metrics.observe(parse_request_info(method, path, {}), status, 0.01)


def series(verb: str, resource: str, scope: str, code: int) -> str:
    return (
        f'code="{code}",component="apiserver",dry_run="",group="",resource="{resource}",'
        f'scope="{scope}",subresource="",verb="{verb}",version="v1"'
    )


def test_requests_are_counted_by_what_they_ask_for() -> None:
    metrics, registry = made()
    for name in ("a", "b"):
        observe(metrics, "GET", f"{PODS}/{name}")
    observe(metrics, "GET", f"{PODS}/a", 404)
    observe(metrics, "GET", PODS)
    observe(metrics, "GET", "/api/v1/pods")
    observe(metrics, "DELETE", f"{PODS}/a")
    observe(metrics, "GET", "/livez")
    assert seen(registry) == {
        series("GET", "pods", "resource", 200): 2,
        series("GET", "pods", "resource", 404): 1,
        series("LIST", "pods", "namespace", 200): 1,
        series("LIST", "pods", "cluster", 200): 1,
        series("DELETE", "pods", "resource", 200): 1,
        (
            'code="200",component="",dry_run="",group="",resource="",scope="",'
            'subresource="/livez",verb="GET",version=""'
        ): 1,
    }
    assert b"apiserver_request_duration_seconds_count" in registry.render()


def test_time_in_a_queue_is_no_indicator_of_the_service() -> None:
    metrics, registry = made()
    metrics.observe(parse_request_info("GET", PODS, {}), 200, 0.3, waited_s=0.28)
    text = registry.render().decode()
    (whole,) = [line for line in text.splitlines() if "request_duration_seconds_sum" in line]
    (own,) = [line for line in text.splitlines() if "request_sli_duration_seconds_sum" in line]
    assert float(whole.rpartition(" ")[2]) == pytest.approx(0.3)
    assert float(own.rpartition(" ")[2]) == pytest.approx(0.02)
    lines = [line for line in text.splitlines() if "sli_duration_seconds_bucket" in line]
    assert {line.rpartition(" ")[2] for line in lines} == {"1"}


def test_callers_cannot_grow_the_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    metrics, registry = made(known=False)
    for number in range(100):
        observe(metrics, "GET", f"/api/v1/invented{number}/x", 403)
        observe(metrics, f"M{number}", f"/api/v1/invented{number}/x", 405)
    assert len(seen(registry)) == 2
    assert sum(seen(registry).values()) == 200
    monkeypatch.setattr(request_metrics, "_SERIES_MAX", 10)
    metrics, registry = made()
    for number in range(100):
        observe(metrics, "GET", f"/api/v1/things{number}/x")
    found = seen(registry)
    assert len(found) == 11
    assert sum(found.values()) == 100
