"""The kubelet's HTTPS API: logs, exec, attach, port-forward, pods, stats, health.

What the API server proxies to, and what tools read. Every path but health needs a caller that
:mod:`server_auth` knows. https://kubernetes.io/docs/reference/node/kubelet-files/ and
upstream's ``pkg/kubelet/server``.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import orjson

from kutter.api.errors import ApiError
from kutter.base.clock import parse_time
from kutter.base.log import get_logger
from kutter.http.messages import Request, Response
from kutter.http.portforward import answer_port_forward
from kutter.http.remotecommand import RemoteCommandSession, answer_remote_command
from kutter.http.server import HttpServer, serve
from kutter.http.tls import ServerTls
from kutter.node.log_stream import stream_log
from kutter.node.logs import LogOptions
from kutter.node.moments import from_seconds
from kutter.node.pod_worker import PodWorker
from kutter.node.port_stream import PortStream
from kutter.node.server_auth import ServerAuth
from kutter.node.stats import render_resource_metrics, summary
from kutter.node.system_logs import answer_log_file
from kutter.runtime.cri import Container, ContainerState, CriError

if TYPE_CHECKING:
    from kutter.node.agent import NodeAgent

_log = get_logger("node.server")

EXEC_RUN_TIMEOUT_S = 60.0
_TRUE = ("1", "true", "True")


class _Refusal(Exception):
    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def _text(status: int, body: str) -> Response:
    headers = [("content-type", "text/plain; charset=utf-8")]
    return Response(status, headers, body=body.encode())


def _json(tree: object) -> Response:
    return Response(200, [("content-type", "application/json")], body=orjson.dumps(tree))


class KubeletServer:
    """Serves while the agent runs."""

    def __init__(self, agent: NodeAgent) -> None:
        self._agent = agent
        self._auth = ServerAuth(agent.client, agent.options, agent.clock)
        self._server: HttpServer | None = None
        self._routes: dict[str, Callable[[Request, list[str]], Awaitable[Response]]] = {
            "pods": self._pods,
            "runningpods": self._running_pods,
            "logs": self._system_logs,
            "containerLogs": self._logs,
            "exec": self._exec,
            "attach": self._attach,
            "portForward": self._port_forward,
            "run": self._run,
            "stats": self._stats,
            "metrics": self._metrics,
            "configz": self._configz,
        }

    @property
    def port(self) -> int:
        """The port in use (useful when 0 was asked for)."""
        return self._server.port if self._server is not None else 0

    async def start(self) -> None:
        """Listen. Raises OSError."""
        options = self._agent.options
        tls = None
        if options.serving_certificate is not None and options.serving_key is not None:
            tls = ServerTls(
                options.serving_certificate,
                options.serving_key,
                client_ca_file=options.client_ca,
                clock=self._agent.clock,
            )
        self._server = await serve(
            self.handle, options.server_address, options.server_port, tls=tls
        )

    async def close(self) -> None:
        if self._server is not None:
            await self._server.close(grace_s=0.5)
            self._server = None

    async def handle(self, request: Request) -> Response:
        """Answer one request."""
        if request.path == "/healthz" or request.path.startswith("/healthz/"):
            return _text(200, "ok")
        try:
            caller = await self._auth.identify(request)
            if caller is None:
                return _text(401, "Unauthorized")
            if not await self._auth.allows(caller, request):
                name = self._agent.options.node_name
                return _text(
                    403,
                    f"Forbidden (user={caller.name}, verb={request.method.lower()}, "
                    f"resource=nodes, subresource(s)=[proxy], name={name})",
                )
            first, *rest = request.path.strip("/").split("/")
            route = self._routes.get(first)
            if route is None:
                return _text(404, "404 page not found\n")
            return await route(request, rest)
        except _Refusal as refusal:
            return _text(refusal.status, str(refusal))
        except ApiError as error:
            return _text(error.code, error.message)
        except (CriError, OSError, ValueError) as error:
            return _text(500, str(error))

    # Finding

    def _worker(self, namespace: str, name: str) -> PodWorker:
        for worker in self._agent.workers.values():
            meta = worker.pod.metadata
            if meta.namespace == namespace and meta.name == name:
                return worker
        raise _Refusal(404, f'pod "{name}_{namespace}" does not exist')

    def _container(self, worker: PodWorker, name: str, *, previous: bool = False) -> Container:
        runs = self._agent.view.containers(worker.uid).get(name, ())
        if worker.spec_of(name) is None:
            pod = worker.pod.metadata.name
            raise _Refusal(400, f"container {name} is not valid for pod {pod}")
        if previous:
            # While it waits for its back-off, the newest run already is the previous one.
            waits = any(name == waiting for waiting, _ in worker.last_plan.crash_loops)
            ended = tuple(r for r in runs if r.state is ContainerState.EXITED)
            current = bool(runs) and runs[0].state is ContainerState.EXITED and not waits
            runs = ended[1:] if current else ended
            if not runs:
                raise _Refusal(
                    400,
                    f'previous terminated container "{name}" in pod '
                    f'"{worker.pod.metadata.name}" not found',
                )
        if not runs:
            raise _Refusal(
                400,
                f'container "{name}" in pod "{worker.pod.metadata.name}" is waiting to start: '
                "ContainerCreating",
            )
        return runs[0]

    def _running(self, rest: list[str]) -> tuple[PodWorker, Container]:
        namespace, pod, container = _parts(rest, 3)
        worker = self._worker(namespace, pod)
        run = self._container(worker, container)
        if run.state is not ContainerState.RUNNING:
            raise _Refusal(400, f'container not found ("{container}")')
        return worker, run

    # Answering

    async def _pods(self, request: Request, rest: list[str]) -> Response:
        items = [worker.pod.tree() for worker in self._agent.workers.values()]
        return _json({"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": items})

    async def _running_pods(self, request: Request, rest: list[str]) -> Response:
        """As the runtime knows them: names, and the containers that run."""
        items = []
        for worker in self._agent.workers.values():
            runs = [runs[0] for runs in self._agent.view.containers(worker.uid).values()]
            running = [run for run in runs if run.state is ContainerState.RUNNING]
            if running:
                meta = worker.pod.metadata
                names = {"name": meta.name, "namespace": meta.namespace, "uid": meta.uid}
                containers = [{"name": r.metadata.name, "image": r.image_ref} for r in running]
                items.append({"metadata": names, "spec": {"containers": containers}})
        return _json({"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": items})

    async def _system_logs(self, request: Request, rest: list[str]) -> Response:
        if request.method not in ("GET", "HEAD"):
            raise _Refusal(405, "Method Not Allowed")
        answer = await answer_log_file(self._agent.options.system_log_root, rest)
        return answer or _text(404, "404 page not found\n")

    async def _logs(self, request: Request, rest: list[str]) -> Response:
        namespace, pod, container = _parts(rest, 3)
        worker = self._worker(namespace, pod)
        previous = request.param("previous") in _TRUE
        run = self._container(worker, container, previous=previous)
        options = self._log_options(request)
        view, uid = self._agent.view, worker.uid

        def is_running() -> bool:
            runs = view.containers(uid).get(container, ())
            known = next((r for r in runs if r.id == run.id), None)
            return known is not None and known.state in (
                ContainerState.RUNNING,
                ContainerState.CREATED,
            )

        stream = stream_log(run.log_path, options, is_running=is_running, clock=self._agent.clock)
        return Response(200, [("content-type", "text/plain")], stream=stream)

    def _log_options(self, request: Request) -> LogOptions:
        since = None
        if request.param("sinceTime"):
            since = parse_time(request.param("sinceTime"))
        elif request.param("sinceSeconds"):
            now = self._agent.clock.now().timestamp()
            since = from_seconds(now - int(request.param("sinceSeconds")))
        tail, limit = request.param("tailLines"), request.param("limitBytes")
        stream = request.param("stream")
        return LogOptions(
            follow=request.param("follow") in _TRUE,
            tail=int(tail) if tail else None,
            limit_bytes=int(limit) if limit else None,
            since=since,
            timestamps=request.param("timestamps") in _TRUE,
            stream="" if stream in ("", "All") else stream.lower(),
        )

    async def _exec(self, request: Request, rest: list[str]) -> Response:
        _, run = self._running(rest)
        command = request.params("command")
        if not command:
            raise _Refusal(400, "you must specify at least one command")
        flags = _flags(request)

        async def execute(session: RemoteCommandSession) -> int:
            return await self._agent.runtime.exec(
                run.id, command, session, tty=flags["tty"], stdin=flags["stdin"]
            )

        return answer_remote_command(request, execute, **flags)

    async def _attach(self, request: Request, rest: list[str]) -> Response:
        _, run = self._running(rest)
        flags = _flags(request)

        async def attach(session: RemoteCommandSession) -> int:
            await self._agent.runtime.attach(
                run.id, session, tty=flags["tty"], stdin=flags["stdin"]
            )
            return 0

        return answer_remote_command(request, attach, **flags)

    async def _port_forward(self, request: Request, rest: list[str]) -> Response:
        namespace, pod = _parts(rest, 2)
        worker = self._worker(namespace, pod)
        sandboxes = self._agent.view.sandboxes(worker.uid)
        if not sandboxes:
            raise _Refusal(404, f'pod "{pod}_{namespace}" has no sandbox')
        sandbox_id = sandboxes[0].id

        async def connect(port: int) -> PortStream:
            return PortStream(*await self._agent.runtime.connect_port(sandbox_id, port))

        return answer_port_forward(request, connect)

    async def _run(self, request: Request, rest: list[str]) -> Response:
        if request.method != "POST":
            raise _Refusal(405, "Method Not Allowed")
        _, run = self._running(rest)
        command = request.param("cmd").split()
        if not command:
            raise _Refusal(400, "missing cmd")
        code, out, err = await self._agent.runtime.exec_sync(run.id, command, EXEC_RUN_TIMEOUT_S)
        status = 200 if code == 0 else 500
        return Response(status, [("content-type", "text/plain")], body=out + err)

    async def _stats(self, request: Request, rest: list[str]) -> Response:
        if rest[:1] != ["summary"]:
            return _text(404, "404 page not found\n")
        return _json(await summary(self._agent))

    async def _metrics(self, request: Request, rest: list[str]) -> Response:
        headers = [("content-type", "text/plain; version=0.0.4; charset=utf-8")]
        if rest == ["resource"]:
            return Response(200, headers, body=await render_resource_metrics(self._agent))
        return Response(200, headers, body=self._agent.metrics.render())

    async def _configz(self, request: Request, rest: list[str]) -> Response:
        options = self._agent.options
        tree = {
            "kind": "KubeletConfiguration",
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "port": options.server_port,
            "maxPods": options.maximum_pods,
            "clusterDomain": options.cluster_domain,
            "clusterDNS": [options.cluster_dns],
            "podPidsLimit": options.pod_pids_limit or -1,
            "containerLogMaxSize": f"{options.log_maximum_bytes // 2**20}Mi",
            "containerLogMaxFiles": options.log_maximum_files,
            "serializeImagePulls": options.serialize_pulls,
            "enableDebuggingHandlers": True,
        }
        return _json({"kubeletconfig": tree})


def _parts(rest: list[str], count: int) -> list[str]:
    """Path parts, tolerating a pod uid between pod and container. Raises _Refusal."""
    if len(rest) == count + 1:
        rest = [*rest[:2], *rest[3:]]
    if len(rest) != count:
        raise _Refusal(404, "404 page not found\n")
    return rest


def _flags(request: Request) -> dict[str, bool]:
    """``input``/``stdin`` and the like: upstream takes both spellings."""

    def on(*names: str) -> bool:
        return any(request.param(name) in _TRUE for name in names)

    tty = on("tty")
    return {
        "stdin": on("input", "stdin"),
        "stdout": on("output", "stdout"),
        "stderr": on("error", "stderr") and not tty,
        "tty": tty,
    }
