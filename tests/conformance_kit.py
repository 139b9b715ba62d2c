"""What conformance scenarios share: REST without a typed client's opinion, watches, waiting."""

from __future__ import annotations

import json
import time
from types import SimpleNamespace
from urllib.parse import urlencode

import urllib3

PATCH_TYPES = {
    "json": "application/json-patch+json",
    "merge": "application/merge-patch+json",
    "strategic": "application/strategic-merge-patch+json",
}


def wait_until(check, timeout_s=30.0):
    """Poll a condition of the public API; the deadline is the failure."""
    deadline = time.monotonic() + timeout_s
    while True:
        value = check()
        if value:
            return value
        assert time.monotonic() < deadline, f"not within {timeout_s} s: {check.__qualname__}"
        time.sleep(0.01)


class Rest:
    """JSON requests over the connection pool of an official ``ApiClient``."""

    def __init__(self, client, token=""):
        self._pool = client.rest_client.pool_manager
        self._host = client.configuration.host

    def call(self, method, path, body=None, *, query=None, headers=None, **options):
        sent = {"accept": "application/json", **(headers or {})}
        if body is not None:
            sent.setdefault("content-type", "application/json")
        if query:
            path += "?" + urlencode(query, doseq=True)
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        return self._pool.request(method, self._host + path, body=data, headers=sent, **options)

    def answer(self, method, path, body=None, **options):
        """Status, headers and decoded body."""
        response = self.call(method, path, body, **options)
        try:
            tree = json.loads(response.data)
        except ValueError:
            tree = response.data.decode()
        return SimpleNamespace(status=response.status, headers=response.headers, tree=tree)

    def ok(self, method, path, body=None, **options):
        found = self.answer(method, path, body, **options)
        assert found.status < 300, (method, path, found.tree)
        return found.tree

    def fails(self, status, reason, method, path, body=None, **options):
        found = self.answer(method, path, body, **options)
        assert (found.status, found.tree.get("reason")) == (status, reason), found.tree
        return found.tree

    def get(self, path, **query):
        return self.ok("GET", path, query=query)

    def post(self, path, body, **query):
        return self.ok("POST", path, body, query=query)

    def put(self, path, body, **query):
        return self.ok("PUT", path, body, query=query)

    def patch(self, path, body, kind="merge", **query):
        return self.ok(
            "PATCH", path, body, query=query, headers={"content-type": PATCH_TYPES[kind]}
        )

    def delete(self, path, body=None, **query):
        return self.ok("DELETE", path, body, query=query)

    def change(self, path, edit):
        """GET, ``edit`` the tree in place, PUT; again when a controller wrote in between."""
        for _ in range(50):
            tree = self.get(path)
            edit(tree)
            found = self.answer("PUT", path, tree)
            if found.status == 409 and found.tree["reason"] == "Conflict":
                continue
            assert found.status == 200, (path, found.tree)
            return found.tree
        raise AssertionError(f"nothing but conflicts at {path}")

    def gone(self, path):
        """Whether a GET answers 404."""
        return self.answer("GET", path).status == 404

    def wait_gone(self, path, timeout_s=30.0):
        wait_until(lambda: self.gone(path), timeout_s)

    def watch(self, path, *, headers=None, **query):
        response = self.call(
            "GET",
            path,
            headers=headers,
            query={"watch": "true", **query},
            preload_content=False,
            timeout=urllib3.Timeout(connect=20, read=30),
        )
        return Watch(response)


class Watch:
    """Events of one watch, in order; closes with the block."""

    def __init__(self, response):
        self.response = response
        assert response.status == 200, response.read()
        self._events = self._read()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.response.close()

    def _read(self):
        rest = b""
        for chunk in self.response.stream(65536):
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                if line:
                    event = json.loads(line)
                    yield event["type"], event["object"]

    def next(self):
        """The next event: its type and object."""
        return next(self._events)

    def until(self, kind, check=lambda _: True):
        """Skip events until one of ``kind`` passes ``check``."""
        seen = []
        for event, tree in self._events:
            seen.append((event, tree["metadata"].get("name")))
            if event == kind and check(tree):
                return tree
        raise AssertionError(f"the watch ended without {kind}: {seen}")

    def rest(self):
        """Everything until the server ends the watch."""
        return list(self._events)


def pod(name="", *, labels=None, image="app:1", **spec):
    return {
        "kind": "Pod",
        "apiVersion": "v1",
        "metadata": {"name": name, "labels": labels or {}},
        "spec": {"containers": [{"name": "c", "image": image}], **spec},
    }


def config_map(name, *, labels=None, **data):
    return {
        "kind": "ConfigMap",
        "apiVersion": "v1",
        "metadata": {"name": name, "labels": labels or {}},
        "data": data,
    }


def workload(kind, name, replicas=1, *, labels=None, image="app:1", **spec):
    """A Deployment, ReplicaSet or ReplicationController of pods labelled ``name=<name>``."""
    labels = labels or {"name": name}
    selector = labels if kind == "ReplicationController" else {"matchLabels": labels}
    return {
        "kind": kind,
        "apiVersion": "v1" if kind == "ReplicationController" else "apps/v1",
        "metadata": {"name": name, "labels": labels},
        "spec": {
            "replicas": replicas,
            "selector": selector,
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [{"name": "c", "image": image}]},
            },
            **spec,
        },
    }


def condition(tree, kind):
    """A status condition by type; empty when there is none."""
    found = [c for c in (tree.get("status") or {}).get("conditions") or () if c["type"] == kind]
    return found[0] if found else {}
