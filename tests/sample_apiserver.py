"""A small API server to be aggregated, shaped as upstream's sample-apiserver is.

It serves ``flunders`` of ``wardle.example.com/v1alpha1`` over HTTPS and believes nobody: callers come
with the front-proxy certificate and are named in headers, or with a token it asks the cluster about;
what they may, it asks the cluster too. What it needs for that it reads from the cluster's ConfigMap.
"""

from __future__ import annotations

import asyncio
import base64
import json
import tempfile
import threading
from pathlib import Path
from typing import Self

import orjson
import urllib3
from cryptography import x509
from cryptography.x509.oid import NameOID
from tests.webhook_kit import _write_pki

from kutter.http import Request, Response, ServerTls, serve

GROUP, VERSION = "wardle.example.com", "v1alpha1"
ROOT = f"/apis/{GROUP}/{VERSION}"
NAMESPACE, NAME = "wardle", "sample-api"
START_S = 20.0
_JSON = [("Content-Type", "application/json")]
_SCHEMA = {
    "type": "object",
    "properties": {
        "apiVersion": {"type": "string"},
        "kind": {"type": "string"},
        "metadata": {"type": "object"},
        "spec": {"type": "object", "properties": {"reference": {"type": "string"}}},
    },
    "x-kubernetes-group-version-kind": [{"group": GROUP, "version": VERSION, "kind": "Flunder"}],
}
_TYPE = "com.example.wardle.v1alpha1.Flunder"
_VERBS = ["create", "delete", "get", "list", "update", "watch"]


class SampleApiServer:
    """``with SampleApiServer(url, token) as server``; ``seen`` holds who asked for what."""

    def __init__(self, cluster_url: str, token: str, *, aggregated_discovery: bool = True) -> None:
        self.cluster_url = cluster_url
        self.aggregated_discovery = aggregated_discovery
        self.flunders: dict[tuple[str, str], dict] = {}
        self.seen: list[tuple[str, str, str, tuple[str, ...], dict[str, str]]] = []
        self.stopped = False
        self._token = token
        self._pool = urllib3.PoolManager(cert_reqs="CERT_NONE", timeout=20)
        self._revision = 100
        self._watchers: list[asyncio.Queue] = []
        self._folder = tempfile.TemporaryDirectory()
        self.ca_pem = _write_pki(Path(self._folder.name), (f"{NAME}.{NAMESPACE}.svc",))
        self._allowed_names: list[str] = []
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.port = 0

    @property
    def ca_bundle(self) -> str:
        return base64.b64encode(self.ca_pem).decode()

    def objects(self) -> tuple[dict, dict]:
        """The service that leads here, and the APIService that names it."""
        service = {
            "kind": "Service",
            "apiVersion": "v1",
            "metadata": {"name": NAME, "namespace": NAMESPACE},
            "spec": {"type": "ExternalName", "externalName": "localhost"},
        }
        registered = {
            "kind": "APIService",
            "apiVersion": "apiregistration.k8s.io/v1",
            "metadata": {"name": f"{VERSION}.{GROUP}"},
            "spec": {
                "group": GROUP,
                "version": VERSION,
                "service": {"namespace": NAMESPACE, "name": NAME, "port": self.port},
                "caBundle": self.ca_bundle,
                "groupPriorityMinimum": 2000,
                "versionPriority": 200,
            },
        }
        return service, registered

    # -- life -------------------------------------------------------------------

    def __enter__(self) -> Self:
        config = self._ask(
            "GET", "/api/v1/namespaces/kube-system/configmaps/extension-apiserver-authentication"
        )
        data = config["data"]
        assert json.loads(data["requestheader-username-headers"]) == ["X-Remote-User"]
        assert json.loads(data["requestheader-group-headers"]) == ["X-Remote-Group"]
        assert json.loads(data["requestheader-extra-headers-prefix"]) == ["X-Remote-Extra-"]
        self._allowed_names = json.loads(data["requestheader-allowed-names"])
        ca_file = Path(self._folder.name) / "front-proxy-ca.crt"
        ca_file.write_text(data["requestheader-client-ca-file"])
        self._thread.start()
        assert self._ready.wait(START_S), "the sample API server did not start"
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    def stop(self) -> None:
        if not self.stopped:
            self.stopped = True
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(START_S)
            self._loop.close()
            self._folder.cleanup()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        folder = Path(self._folder.name)
        tls = ServerTls(
            folder / "server.crt",
            folder / "server.key",
            client_ca_file=folder / "front-proxy-ca.crt",
        )
        server = self._loop.run_until_complete(serve(self._handle, tls=tls))
        self.port = server.port
        self._ready.set()
        self._loop.run_forever()
        self._loop.run_until_complete(server.close(grace_s=0.1))
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())

    # -- who asks, and may they ---------------------------------------------------

    def _ask(self, method: str, path: str, body: dict | None = None) -> dict:
        headers = {"authorization": f"Bearer {self._token}", "content-type": "application/json"}
        sent = json.dumps(body) if body is not None else None
        answer = self._pool.request(method, self.cluster_url + path, body=sent, headers=headers)
        assert answer.status < 300, answer.data
        return json.loads(answer.data)

    async def _who(self, request: Request) -> tuple[str, tuple[str, ...], dict[str, str]] | None:
        """The caller's name, groups and extra."""
        peer = request.peer_certificate
        if peer is not None:
            subject = x509.load_der_x509_certificate(peer.der).subject
            names = subject.get_attributes_for_oid(NameOID.COMMON_NAME)
            if names[0].value in self._allowed_names and "x-remote-user" in request.headers:
                pairs = request.header_list
                groups = tuple(v for k, v in pairs if k == "x-remote-group")
                extra = {k: v for k, v in pairs if k.startswith("x-remote-extra-")}
                return request.headers["x-remote-user"], groups, extra
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme == "Bearer":
            review = {
                "kind": "TokenReview",
                "apiVersion": "authentication.k8s.io/v1",
                "spec": {"token": token},
            }
            found = await asyncio.to_thread(
                self._ask, "POST", "/apis/authentication.k8s.io/v1/tokenreviews", review
            )
            if found["status"].get("authenticated"):
                user = found["status"]["user"]
                return user["username"], tuple(user.get("groups", ())), {}
        return None

    async def _may(self, who: tuple, attributes: dict) -> bool:
        if "system:masters" in who[1]:
            return True
        review = {
            "kind": "SubjectAccessReview",
            "apiVersion": "authorization.k8s.io/v1",
            "spec": {"user": who[0], "groups": list(who[1]), **attributes},
        }
        found = await asyncio.to_thread(
            self._ask, "POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", review
        )
        return bool(found["status"]["allowed"])

    # -- what it serves -----------------------------------------------------------

    async def _handle(self, request: Request) -> Response:
        who = await self._who(request)
        if who is None:
            return _status(401, "Unauthorized", "Unauthorized")
        self.seen.append((request.method, request.path, *who))
        rest = request.path.removeprefix(ROOT).strip("/").split("/")
        if not request.path.startswith(ROOT) or rest == [""]:
            asked = {
                "nonResourceAttributes": {"path": request.path, "verb": request.method.lower()}
            }
            if not await self._may(who, asked):
                return _status(
                    403, "Forbidden", f'User "{who[0]}" cannot get path "{request.path}"'
                )
            return self._document(request)
        namespace = rest[1] if rest[0] == "namespaces" else ""
        rest = rest[2:] if namespace else rest
        name, part = (rest[1:2] or [""])[0], (rest[2:3] or [""])[0]
        verb = _verb(request, name)
        attributes = {
            "group": GROUP,
            "version": VERSION,
            "resource": "flunders",
            "namespace": namespace,
            "name": name,
            "verb": verb,
        }
        if not await self._may(who, {"resourceAttributes": attributes}):
            text = (
                f'flunders.{GROUP} is forbidden: User "{who[0]}" cannot {verb} resource "flunders"'
            )
            return _status(403, "Forbidden", text)
        if rest[0] != "flunders":
            return _status(404, "NotFound", "the server could not find the requested resource")
        if part == "echo":
            return Response(101, [("Upgrade", request.headers["upgrade"])], upgrade=_echo)
        if part == "away":
            return Response(302, [("Location", "https://elsewhere.example.com/")])
        return self._serve(verb, namespace, name, request)

    def _document(self, request: Request) -> Response:
        path = request.path
        listed = [
            {
                "name": "flunders",
                "singularName": "flunder",
                "namespaced": True,
                "kind": "Flunder",
                "verbs": _VERBS,
                "shortNames": ["fl"],
            },
            {
                "name": "flunders/echo",
                "singularName": "",
                "namespaced": True,
                "kind": "Flunder",
                "verbs": ["get"],
            },
        ]
        if (
            path == "/apis"
            and self.aggregated_discovery
            and "APIGroupDiscoveryList" in request.headers.get("accept", "")
        ):
            entry = {
                "resource": "flunders",
                "responseKind": {"group": GROUP, "version": VERSION, "kind": "Flunder"},
                "scope": "Namespaced",
                "singularResource": "flunder",
                "shortNames": ["fl"],
                "verbs": _VERBS,
            }
            return _json(
                {
                    "kind": "APIGroupDiscoveryList",
                    "apiVersion": "apidiscovery.k8s.io/v2",
                    "items": [
                        {
                            "metadata": {"name": GROUP},
                            "versions": [
                                {"version": VERSION, "freshness": "Current", "resources": [entry]}
                            ],
                        }
                    ],
                }
            )
        if path == ROOT:
            return _json(
                {
                    "kind": "APIResourceList",
                    "apiVersion": "v1",
                    "groupVersion": f"{GROUP}/{VERSION}",
                    "resources": listed,
                }
            )
        if path == "/openapi/v3":
            return _json(
                {"paths": {ROOT[1:]: {"serverRelativeURL": f"/openapi/v3{ROOT}?hash=F00"}}}
            )
        if path == f"/openapi/v3{ROOT}":
            return _json(
                {
                    "openapi": "3.0.0",
                    "info": {"title": "sample", "version": "1"},
                    "paths": _paths("#/components/schemas/"),
                    "components": {"schemas": {_TYPE: _SCHEMA}},
                }
            )
        if path == "/openapi/v2":
            paths = {**_paths("#/definitions/"), "/version/": {}, "/beside/": {}}
            definitions = {_TYPE: _SCHEMA, "unused": {"type": "object"}}
            return _json({"swagger": "2.0", "info": {}, "paths": paths, "definitions": definitions})
        return _status(404, "NotFound", "the server could not find the requested resource")

    def _serve(self, verb: str, namespace: str, name: str, request: Request) -> Response:
        key = (namespace, name)
        if verb == "list":
            items = [t for (home, _), t in sorted(self.flunders.items()) if namespace in ("", home)]
            meta = {"resourceVersion": str(self._revision)}
            return _json(
                {
                    "kind": "FlunderList",
                    "apiVersion": f"{GROUP}/{VERSION}",
                    "metadata": meta,
                    "items": items,
                }
            )
        if verb == "watch":
            return Response(200, _JSON, stream=self._watch())
        if verb == "create":
            tree = orjson.loads(request.body)
            key = (namespace, tree["metadata"]["name"])
            if key in self.flunders:
                return _status(409, "AlreadyExists", f'flunders.{GROUP} "{key[1]}" already exists')
            tree["metadata"] |= {"namespace": namespace, "uid": f"uid-{self._revision}"}
            return self._write("ADDED", key, tree, 201)
        if key not in self.flunders:
            return _status(404, "NotFound", f'flunders.{GROUP} "{name}" not found')
        if verb == "get":
            return _json(self.flunders[key])
        if verb == "update":
            return self._write("MODIFIED", key, orjson.loads(request.body), 200)
        tree = self.flunders.pop(key)
        self._tell("DELETED", tree)
        return _json({"kind": "Status", "apiVersion": "v1", "status": "Success", "metadata": {}})

    def _write(self, kind: str, key: tuple[str, str], tree: dict, status: int) -> Response:
        self._revision += 1
        tree["metadata"]["resourceVersion"] = str(self._revision)
        self.flunders[key] = tree
        self._tell(kind, tree)
        return _json(tree, status)

    def _tell(self, kind: str, tree: dict) -> None:
        for queue in self._watchers:
            queue.put_nowait({"type": kind, "object": tree})

    async def _watch(self):
        queue: asyncio.Queue = asyncio.Queue()
        self._watchers.append(queue)
        try:
            for tree in list(self.flunders.values()):
                yield orjson.dumps({"type": "ADDED", "object": tree}) + b"\n"
            while True:
                yield orjson.dumps(await queue.get()) + b"\n"
        finally:
            self._watchers.remove(queue)


async def _echo(stream) -> None:
    while data := await stream.read():
        await stream.write(data)
    stream.close()


def _verb(request: Request, name: str) -> str:
    if request.method == "GET" and not name:
        return "watch" if request.param("watch") in ("1", "true") else "list"
    return {"GET": "get", "POST": "create", "PUT": "update", "DELETE": "delete"}.get(
        request.method, request.method.lower()
    )


def _paths(prefix: str) -> dict:
    kind = {"group": GROUP, "version": VERSION, "kind": "Flunder"}
    operation = {
        "x-kubernetes-action": "get",
        "x-kubernetes-group-version-kind": kind,
        "responses": {"200": {"description": "OK", "schema": {"$ref": prefix + _TYPE}}},
    }
    return {f"{ROOT}/namespaces/{{namespace}}/flunders/{{name}}": {"get": operation}}


def _json(tree: dict, status: int = 200) -> Response:
    return Response(status, list(_JSON), orjson.dumps(tree))


def _status(code: int, reason: str, message: str) -> Response:
    tree = {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": message,
        "reason": reason,
        "code": code,
    }
    return _json(tree, code)
