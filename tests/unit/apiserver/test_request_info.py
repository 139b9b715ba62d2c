"""What method and path ask for, by upstream's rules."""

from __future__ import annotations

import pytest

from kutter.apiserver.request_info import is_true, parse_request_info

# method, path, query, verb, group, namespace, resource, subresource, name
CASES = [
    ("GET", "/api/v1/namespaces", {}, "list", "", "", "namespaces", "", ""),
    ("GET", "/api/v1/namespaces/a", {}, "get", "", "a", "namespaces", "", "a"),
    ("PUT", "/api/v1/namespaces/a/finalize", {}, "update", "", "a", "namespaces", "finalize", "a"),
    ("GET", "/api/v1/namespaces/a/status", {}, "get", "", "a", "namespaces", "status", "a"),
    ("GET", "/api/v1/namespaces/a/pods", {}, "list", "", "a", "pods", "", ""),
    ("GET", "/api/v1/namespaces/a/pods/b", {}, "get", "", "a", "pods", "", "b"),
    ("GET", "/api/v1/namespaces/a/pods/b/log", {}, "get", "", "a", "pods", "log", "b"),
    ("POST", "/api/v1/namespaces/a/pods/b/exec", {}, "create", "", "a", "pods", "exec", "b"),
    ("GET", "/api/v1/pods", {"watch": "true"}, "watch", "", "", "pods", "", ""),
    ("GET", "/api/v1/pods", {"watch": "1"}, "watch", "", "", "pods", "", ""),
    ("GET", "/api/v1/pods", {"watch": "false"}, "list", "", "", "pods", "", ""),
    ("GET", "/api/v1/watch/namespaces/a/pods", {}, "watch", "", "a", "pods", "", ""),
    ("GET", "/api/v1/watch/namespaces/a/pods/b", {}, "watch", "", "a", "pods", "", "b"),
    ("DELETE", "/api/v1/namespaces/a/pods", {}, "deletecollection", "", "a", "pods", "", ""),
    ("DELETE", "/api/v1/nodes/n", {}, "delete", "", "", "nodes", "", "n"),
    ("PATCH", "/apis/apps/v1/namespaces/a/deployments/d", {}, "patch", "apps", "a", "deployments", "", "d"),
    ("GET", "/api/v1/nodes/n/proxy/a/b", {}, "get", "", "", "nodes", "proxy", "n"),
    ("GET", "/api/v1/pods", {"fieldSelector": "metadata.name=x,a=b"}, "list", "", "", "pods", "", "x"),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case[0]} {case[1]}")
def test_resources(case: tuple[str, ...]) -> None:
    method, path, query, *expected = case
    info = parse_request_info(method, path, query)  # type: ignore[arg-type]
    assert info.is_resource
    found = [info.verb, info.group, info.namespace, info.resource, info.subresource, info.name]
    assert found == expected


@pytest.mark.parametrize("path", ["/", "/api", "/api/v1", "/apis/apps/v1", "/version", "/livez/x"])
def test_other_paths(path: str) -> None:
    info = parse_request_info("GET", path, {})
    assert (info.is_resource, info.verb, info.path) == (False, "get", path)


def test_what_counts_as_true() -> None:
    assert [is_true(t) for t in ("", "1", "true", "yes")] == [True] * 4
    assert [is_true(t) for t in (None, "0", "false", "False")] == [False] * 4
