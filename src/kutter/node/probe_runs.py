"""Runs the probes of one pod's containers and keeps what they found.

Between :mod:`kutter.node.probes` (pure) and the world. One task per probe, sleeping between
probings; nothing runs for containers without probes. Laws: no probe outlives its container; a
worker is woken only when a verdict changed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from urllib.parse import urlunsplit

from kutter.api.types.core_v1 import Container as ContainerSpec
from kutter.api.types.core_v1 import HTTPGetAction, Pod, Probe
from kutter.base.tasks import Scope
from kutter.node.facts import ProbeFacts
from kutter.node.grpc_health import HealthError, check_health
from kutter.node.http_get import http_get
from kutter.node.kit import NodeKit
from kutter.node.probes import (
    KINDS,
    Outcome,
    ProbeState,
    first_delay_s,
    initial_state,
    observe,
    probe_of,
    resolve_port,
)
from kutter.runtime.cri import Container, CriError

OUTPUT_LIMIT = 10 * 1024


class _Run:
    """All probes of one running container."""

    def __init__(self, spec: ContainerSpec, run: Container) -> None:
        self.spec = spec
        self.run = run
        self.states = {k: initial_state(k) for k in KINDS if probe_of(spec, k) is not None}
        self.tasks: list[asyncio.Task[None]] = []

    @property
    def started(self) -> bool:
        state = self.states.get("startup")
        return state is None or state.verdict

    def facts(self) -> ProbeFacts:
        readiness = self.states.get("readiness")
        ready = self.started and (readiness is None or readiness.verdict)
        for kind in ("startup", "liveness"):
            state = self.states.get(kind)
            if state is None or state.verdict or state.last is not Outcome.FAILURE:
                continue
            probe = probe_of(self.spec, kind)
            assert probe is not None
            if state.streak >= (probe.failure_threshold or 3):
                grace = probe.termination_grace_period_seconds
                return ProbeFacts(self.started, ready, kind, grace)
        return ProbeFacts(self.started, ready)


class PodProbes:
    """The probes of one pod. ``wake`` is called when a verdict changed."""

    def __init__(self, kit: NodeKit, scope: Scope, wake: Callable[[], None]) -> None:
        self._kit = kit
        self._scope = scope
        self._wake = wake
        self._runs: dict[str, _Run] = {}
        self._pod: Pod | None = None
        self.pod_ip = ""

    def facts(self) -> dict[str, ProbeFacts]:
        """What is known, by container id."""
        return {i: run.facts() for i, run in self._runs.items()}

    def follow(self, pod: Pod, running: dict[str, tuple[ContainerSpec, Container]]) -> None:
        """Probe exactly these running containers (by id)."""
        self._pod = pod
        for container_id in [i for i in self._runs if i not in running]:
            self._stop(self._runs.pop(container_id))
        for container_id, (spec, container) in running.items():
            known = self._runs.get(container_id)
            if known is not None:
                known.run = container
                continue
            run = self._runs[container_id] = _Run(spec, container)
            self._adopt(pod, run)
            for kind in run.states:
                name = f"probe/{kind}/{spec.name}"
                run.tasks.append(self._scope.start(self._probe_forever(run, kind), name))

    def stop_liveness(self) -> None:
        """The pod is ending: only readiness goes on, as upstream does."""
        for run in self._runs.values():
            for task in run.tasks:
                if "readiness" not in task.get_name():
                    task.cancel()

    def close(self) -> None:
        for run in self._runs.values():
            self._stop(run)
        self._runs.clear()

    @staticmethod
    def _stop(run: _Run) -> None:
        for task in run.tasks:
            task.cancel()

    @staticmethod
    def _adopt(pod: Pod, run: _Run) -> None:
        """Take over what the API knows of a container that ran before this agent did."""
        statuses = (*pod.status.container_statuses, *pod.status.init_container_statuses)
        for status in statuses:
            if status.container_id.rpartition("://")[2] != run.run.id:
                continue
            for kind, known in (("readiness", status.ready), ("startup", bool(status.started))):
                if known and kind in run.states:
                    run.states[kind] = ProbeState(verdict=True)

    async def _probe_forever(self, run: _Run, kind: str) -> None:
        probe = probe_of(run.spec, kind)
        assert probe is not None
        ran_s = self._kit.clock.now().timestamp() - run.run.started_at_ns / 1e9
        await self._kit.clock.sleep(first_delay_s(probe, ran_s, self._kit.rng.uniform(0, 1)))
        while True:
            # Liveness and readiness wait for startup; startup ends with its success.
            if kind == "startup" and run.started:
                return
            if kind == "startup" or run.started:
                outcome = await self._probe(run, kind, probe)
                old = run.facts()
                run.states[kind] = observe(run.states[kind], outcome, probe)
                if run.facts() != old:
                    self._wake()
                    if kind == "startup" and run.started:
                        return
            period = probe.period_seconds or 10
            wait = period if run.started or kind == "startup" else min(period, 1)
            await self._kit.clock.sleep(wait)

    async def _probe(self, run: _Run, kind: str, probe: Probe) -> Outcome:
        title = kind.capitalize()
        try:
            outcome, text = await self._attempt(run, probe)
        except ValueError as error:
            self._event(run, "Warning", f"{title} probe errored: {error}")
            return Outcome.UNKNOWN
        except CriError as error:
            self._event(run, "Warning", f"{title} probe errored: {error}")
            return Outcome.UNKNOWN
        if outcome is Outcome.FAILURE:
            self._event(run, "Warning", f"{title} probe failed: {text}")
        elif text:
            self._event(run, "Warning", f"{title} probe warning: {text}", reason="ProbeWarning")
        return outcome

    def _event(self, run: _Run, kind: str, message: str, *, reason: str = "Unhealthy") -> None:
        assert self._pod is not None
        inits = self._pod.spec.init_containers
        listing = "initContainers" if run.spec in inits else "containers"
        path = f"spec.{listing}{{{run.spec.name}}}"
        self._kit.recorder.event(self._pod, kind, reason, message, field_path=path)

    async def _attempt(self, run: _Run, probe: Probe) -> tuple[Outcome, str]:
        """One probing: (outcome, text). The text of a success is a warning."""
        timeout_s = float(probe.timeout_seconds or 1)
        if probe.exec is not None:
            return await self._exec(run, probe, timeout_s)
        host = self.pod_ip
        try:
            if probe.http_get is not None:
                return await self._http(run, probe.http_get, timeout_s)
            if probe.tcp_socket is not None:
                host = probe.tcp_socket.host or host
                port = resolve_port(probe.tcp_socket.port, run.spec)
                async with asyncio.timeout(timeout_s):
                    _, writer = await asyncio.open_connection(host, port)
                writer.close()
                return Outcome.SUCCESS, ""
            if probe.grpc is not None:
                port = probe.grpc.port
                await check_health(host, port, probe.grpc.service or "", timeout_s)
                return Outcome.SUCCESS, ""
        except HealthError as error:
            return Outcome.FAILURE, str(error)
        except TimeoutError:
            if probe.grpc is not None:
                return Outcome.FAILURE, _unreachable(host, port, timeout_s)
            return Outcome.FAILURE, f"dial tcp {host}:{port}: i/o timeout"
        except OSError as error:
            if probe.grpc is not None:
                return Outcome.FAILURE, _unreachable(host, port, timeout_s)
            return Outcome.FAILURE, f"dial tcp {host}:{port}: {connect_text(error)}"
        raise ValueError("missing probe handler")

    async def _exec(self, run: _Run, probe: Probe, timeout_s: float) -> tuple[Outcome, str]:
        assert probe.exec is not None
        try:
            code, out, err = await self._kit.runtime.exec_sync(
                run.run.id, probe.exec.command, timeout_s, output_max_bytes=OUTPUT_LIMIT
            )
        except TimeoutError:
            text = " ".join(probe.exec.command)
            return Outcome.FAILURE, f'command timed out: "{text}" timed out after {timeout_s:g}s'
        output = (out + err)[:OUTPUT_LIMIT].decode(errors="replace")
        return (Outcome.SUCCESS, "") if code == 0 else (Outcome.FAILURE, output)

    async def _http(
        self, run: _Run, action: HTTPGetAction, timeout_s: float
    ) -> tuple[Outcome, str]:
        url = action_url(action, run.spec, self.pod_ip)
        headers = {h.name: h.value for h in action.http_headers}
        try:
            answer = await http_get(url, headers, timeout_s)
        except TimeoutError:
            text = "context deadline exceeded (Client.Timeout exceeded while awaiting headers)"
            return Outcome.FAILURE, f'Get "{url}": {text}'
        except OSError as error:
            where = url.split("/")[2]
            return Outcome.FAILURE, f'Get "{url}": dial tcp {where}: {connect_text(error)}'
        if answer.redirected_away:
            body = answer.body.decode(errors="replace")
            return Outcome.SUCCESS, f"Probe terminated redirects, Response body: {body}"
        if 200 <= answer.status < 400:
            return Outcome.SUCCESS, ""
        return Outcome.FAILURE, f"HTTP probe failed with statuscode: {answer.status}"


def _unreachable(host: str, port: int, timeout_s: float) -> str:
    """Upstream tries until the time is over, whatever the reason; we need not wait to say so."""
    return (
        f'timeout: failed to connect service "{host}:{port}" within {timeout_s:g}s: '
        "context deadline exceeded"
    )


def connect_text(error: OSError) -> str:
    """A failed connection in the words the API's users know."""
    text = (error.strerror or str(error)).partition(" (")[0]
    if isinstance(error, ConnectionRefusedError):
        return "connect: connection refused"
    if error.errno == 113:
        return "connect: no route to host"
    return text.lower()


def action_url(action: HTTPGetAction, spec: ContainerSpec, pod_ip: str) -> str:
    """The URL an httpGet handler means. Raises ValueError."""
    host = action.host or pod_ip
    netloc = f"[{host}]" if ":" in host else host
    path, _, query = action.path.partition("?")
    if not path.startswith("/"):
        path = "/" + path
    scheme = (action.scheme or "HTTP").lower()
    return urlunsplit((scheme, f"{netloc}:{resolve_port(action.port, spec)}", path, query, ""))
