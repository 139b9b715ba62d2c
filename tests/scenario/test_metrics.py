"""``/metrics`` and its neighbours: names and labels as an upstream v1.36 server's, true values."""

from __future__ import annotations

import re
from typing import Any

import pytest
from tests.apiserver_harness import Api, start_server

CM = "/api/v1/namespaces/default/configmaps"
_LINE = re.compile(r"(\w+)(?:\{(.*)\})? (\S+)$")
_LABEL = re.compile(r'(\w+)="([^"]*)"')
# What upstream's has, without those that differ in value alone.
_PLACE = {"component", "group", "resource", "scope", "subresource", "verb", "version"}
_LABELS = {
    "apiserver_request_total": {*_PLACE, "code", "dry_run"},
    "apiserver_request_duration_seconds_bucket": {*_PLACE, "dry_run", "le"},
    "apiserver_request_sli_duration_seconds_bucket": {*_PLACE, "le"},
    "apiserver_response_sizes_bucket": {*_PLACE, "le"},
    "apiserver_longrunning_requests": _PLACE,
    "apiserver_current_inflight_requests": {"request_kind"},
    "apiserver_requested_deprecated_apis": {
        *("group", "removed_release", "resource", "subresource", "version"),
    },
    "apiserver_resource_objects": {"group", "resource"},
    "apiserver_storage_objects": {"resource"},
    "apiserver_storage_size_bytes": {"storage_cluster_id"},
    "apiserver_watch_events_total": {"group", "resource", "version"},
    "authentication_attempts": {"result"},
    "authorization_attempts_total": {"result"},
    "kubernetes_build_info": {
        *("build_date", "compiler", "git_commit", "git_tree_state", "git_version"),
        *("go_version", "major", "minor", "platform"),
    },
    "process_cpu_seconds_total": set(),
    "process_resident_memory_bytes": set(),
    "process_virtual_memory_bytes": set(),
    "process_start_time_seconds": set(),
    "process_open_fds": set(),
    "process_max_fds": set(),
}


@pytest.fixture
async def api() -> Api:
    return Api(await start_server())


async def scrape(api: Api, path: str = "/metrics") -> list[tuple[str, dict[str, str], float]]:
    response = await api.call("GET", path)
    assert response.status == 200
    found = []
    for line in response.body.decode().splitlines():
        if line.startswith("#"):
            continue
        match = _LINE.match(line)
        assert match is not None, line
        found.append((match[1], dict(_LABEL.findall(match[2] or "")), float(match[3])))
    return found


def of(samples: list[Any], metric: str, /, **labels: str) -> float:
    """The sum of a metric's samples with these labels."""
    return sum(value for n, has, value in samples if n == metric and labels.items() <= has.items())


def config_map(name: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}}


async def test_names_and_labels(api: Api) -> None:
    watch = await api.watch(CM)
    await api.ok("POST", CM, config_map("a"))
    await api.ok("GET", "/api/v1/namespaces/default/endpoints")
    samples = await scrape(api)
    for name, labels in _LABELS.items():
        assert {frozenset(has) for n, has, _ in samples if n == name} == {frozenset(labels)}, name
    await watch.close()


async def test_requests_are_told_by_what_they_are(api: Api) -> None:
    await api.ok("POST", CM, config_map("a"))
    await api.ok("POST", f"{CM}?dryRun=All", config_map("b"))
    await api.ok("GET", f"{CM}/a")
    await api.ok("GET", CM)
    await api.ok("GET", "/api/v1/configmaps")
    apply = {"content-type": "application/apply-patch+yaml"}
    await api.ok("PATCH", f"{CM}/c?fieldManager=m", config_map("c"), headers=apply)
    await api.call("GET", f"{CM}/none")
    await api.ok("GET", "/version")
    samples = await scrape(api)

    def total(**labels: str) -> float:
        return of(samples, "apiserver_request_total", **labels)

    place = {"resource": "configmaps", "group": "", "version": "v1", "component": "apiserver"}
    assert total(verb="POST", code="201", scope="resource", dry_run="", **place) == 1
    assert total(verb="POST", code="201", dry_run="All", **place) == 1
    assert total(verb="GET", code="200", scope="resource", **place) == 1
    assert total(verb="GET", code="404", **place) == 1
    assert total(verb="LIST", scope="namespace", **place) == 1
    assert total(verb="LIST", scope="cluster", **place) == 1
    assert total(verb="APPLY", code="201", **place) == 1
    assert total(verb="GET", subresource="/version", component="") == 1
    for name in ("request_duration_seconds", "request_sli_duration_seconds", "response_sizes"):
        assert of(samples, f"apiserver_{name}_count", verb="LIST", **place) == 2
        infinite = of(samples, f"apiserver_{name}_bucket", verb="LIST", le="+Inf", **place)
        assert infinite == 2
    assert of(samples, "apiserver_response_sizes_sum", verb="LIST", **place) > 100
    assert of(samples, "apiserver_response_sizes_count", verb="POST") == 0
    # The scrape itself is being served.
    assert of(samples, "apiserver_current_inflight_requests", request_kind="readOnly") == 1
    assert of(samples, "apiserver_current_inflight_requests", request_kind="mutating") == 0
    assert of(samples, "apiserver_resource_objects", resource="configmaps") == 2
    assert of(samples, "authentication_attempts", result="success") >= 8
    assert of(samples, "authorization_attempts_total", result="allowed") >= 8
    assert of(samples, "authorization_attempts_total", result="denied") == 0


async def test_callers_cannot_make_series_grow(api: Api) -> None:
    before = len(await scrape(api))
    for number in range(40):
        await api.call("GET", f"/api/v1/namespaces/default/thing{number}/x")
        await api.call("GET", f"/nothing/{number}")
        await api.call("GET", f"{CM}/none{number}/sub{number}")
        await api.call("GET", f"{CM}?dryRun=x{number}")
        await api.call("PATCH", f"{CM}/a", {}, headers={"content-type": f"x/{number}"})
    # A few for what was asked; each has a line for every bound of its histograms.
    assert len(await scrape(api)) - before < 7 * 70
    assert len(api.server.metrics.requests._series) < 30


async def test_watches_and_what_they_were_sent(api: Api) -> None:
    watches = [await api.watch(CM), await api.watch("/api/v1/configmaps")]
    watches.append(await api.watch(CM, fieldSelector="metadata.name=b"))
    await api.ok("POST", CM, config_map("a"))
    samples = await scrape(api)
    place = {"resource": "configmaps", "verb": "WATCH"}
    for scope in ("cluster", "namespace", "resource"):
        assert of(samples, "apiserver_longrunning_requests", scope=scope, **place) == 1
    assert of(samples, "apiserver_watch_events_total", resource="configmaps") == 2
    for watch in watches:
        await watch.close()
    assert of(await scrape(api), "apiserver_longrunning_requests") == 0


async def test_deprecated_versions_are_told_with_the_release_that_removes_them(api: Api) -> None:
    await api.ok("GET", "/api/v1/namespaces/default/endpoints")
    await api.ok("GET", "/apis/extensions/v1beta1/namespaces/default/deployments")
    found = {
        (has["group"], has["version"], has["resource"])
        for name, has, _ in await scrape(api)
        if name == "apiserver_requested_deprecated_apis"
    }
    assert found == {("", "v1", "endpoints"), ("extensions", "v1beta1", "deployments")}


async def test_health_checks_as_indicators(api: Api) -> None:
    await api.call("GET", "/livez")
    await api.call("GET", "/readyz/ping")
    samples = await scrape(api, "/metrics/slis")
    assert of(samples, "kubernetes_healthcheck", name="etcd", type="livez") == 1
    assert of(samples, "kubernetes_healthchecks_total", status="success", type="readyz") == 1
    await api.server.stop()
    await api.call("GET", "/readyz")
    samples = await scrape(api, "/metrics/slis")
    assert of(samples, "kubernetes_healthcheck", name="shutdown", type="readyz") == 0
    assert of(samples, "kubernetes_healthchecks_total", name="shutdown", status="error") == 1


async def test_statusz(api: Api) -> None:
    text = (await api.call("GET", "/statusz")).body.decode()
    assert text.startswith("\napiserver statusz\nWarning: This endpoint is not meant to be")
    assert re.search(r"^Started  \w{3} \w{3} [ \d]\d \d\d:\d\d:\d\d UTC \d{4}$", text, re.MULTILINE)
    assert "\nUp  0 hr 00 min " in text
    assert "\nEmulation version  1.36\n" in text
    accept = "application/json;v=v1alpha1;g=config.k8s.io;as=Statusz"
    status = await api.ok("GET", "/statusz", headers={"accept": accept})
    assert (status["kind"], status["apiVersion"]) == ("Statusz", "config.k8s.io/v1alpha1")
    assert status["metadata"] == {"name": "apiserver"}
    assert "/statusz" in (await api.ok("GET", "/"))["paths"]
