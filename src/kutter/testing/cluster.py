"""A cluster inside the test process: real API server, controllers and scheduler, no root.

It runs on its own thread with its own event loop, so that synchronous tests and any client
(official Python client, kopf, kubectl in a subprocess) can talk to it over TLS as to any other.
State is in memory and gone with it.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import threading
from collections.abc import Coroutine, Sequence
from concurrent.futures import Future
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import uvloop

from kutter.apiserver.authn.identity import GROUP_AUTHENTICATED, GROUP_MASTERS, User
from kutter.base.clock import SYSTEM_CLOCK, Clock
from kutter.base.tasks import Scope, supervise
from kutter.client import kubeconfig
from kutter.client.client import Client
from kutter.client.http import HttpTransport
from kutter.client.kubeconfig import Connection
from kutter.cluster.admin_kubeconfig import build_kubeconfig
from kutter.cluster.api_options import ApiServerOptions
from kutter.cluster.certificates import Certificates
from kutter.cluster.control_plane import ControlPlane, ControlPlaneOptions
from kutter.cluster.server import API_LIMITS, front_proxy_of, render_status
from kutter.http.server import serve
from kutter.http.tls import ServerTls
from kutter.store.durable import SqliteStore
from kutter.store.interface import Store
from kutter.store.memory import MemoryStore
from kutter.testing.simulated_nodes import DEFAULT_LIFE_CYCLE, SimulatedNodes, Stage

ADMIN = User("kubernetes-admin", groups=(GROUP_MASTERS, GROUP_AUTHENTICATED))
START_TIMEOUT_S = 30.0

T = TypeVar("T")


class LocalCluster:
    """``with LocalCluster() as cluster: ...``; give ``nodes`` to have simulated ones."""

    def __init__(
        self,
        *,
        nodes: int = 0,
        life_cycle: Sequence[Stage] = DEFAULT_LIFE_CYCLE,
        controllers: bool = True,
        scheduler: bool = True,
        clock: Clock = SYSTEM_CLOCK,
        api: ApiServerOptions | None = None,
        store_file: Path | None = None,
        service_cidr: str = "10.43.0.0/16",
    ) -> None:
        """``store_file`` keeps the state, for a cluster that is started again."""
        self._clock = clock
        self._api = api or ApiServerOptions()
        self._store_file = store_file
        self._service_cidr = service_cidr
        self._nodes = nodes
        self._life_cycle = tuple(life_cycle)
        self._controllers = controllers
        self._scheduler = scheduler
        self._folder = Path(tempfile.mkdtemp(prefix="kutter-test-"))
        self._loop: asyncio.AbstractEventLoop | None = None
        self._started: Future[None] = Future()
        self._stopping: asyncio.Event | None = None
        self._thread = threading.Thread(target=self._run, name="kutter-cluster", daemon=True)
        self._certificates = Certificates(
            self._folder / "pki", service_addresses=("10.43.0.1",), hosts=("127.0.0.1",)
        )
        self.plane: ControlPlane
        self.simulated: SimulatedNodes | None = None
        self.url = ""
        self.kubeconfig_path = self._folder / "kubeconfig"

    # Life

    def start(self) -> Self:
        """Start and wait until the API server is ready. Raises what went wrong."""
        self._thread.start()
        self._started.result(timeout=START_TIMEOUT_S)
        return self

    def stop(self) -> None:
        """Stop and remove everything; safe to repeat."""
        loop, stopping = self._loop, self._stopping
        if loop is not None and stopping is not None and self._thread.is_alive():
            loop.call_soon_threadsafe(stopping.set)
            self._thread.join(timeout=20)
            assert not self._thread.is_alive(), "the test cluster does not stop"
        shutil.rmtree(self._folder, ignore_errors=True)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def _run(self) -> None:
        try:
            uvloop.run(self._serve())
        except BaseException as error:
            if not self._started.done():
                self._started.set_exception(error)
            else:
                raise

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stopping = asyncio.Event()
        self._certificates.ensure()
        pair = self._certificates.pair("apiserver")
        tls = ServerTls(
            pair.certificate,
            pair.key,
            client_ca_file=self._certificates.ca_file,
            proxy_ca_file=self._certificates.front_proxy_ca_file,
        )
        store: Store
        if self._store_file:
            store = await SqliteStore.open(self._store_file, clock=self._clock)
        else:
            store = MemoryStore(clock=self._clock)
        self.plane = ControlPlane(
            store,
            ControlPlaneOptions(
                service_cidr=self._service_cidr,
                token_key_pem=self._certificates.token_key_file.read_bytes(),
                root_ca_pem=self._certificates.ca_pem,
                root_ca_key_pem=self._certificates.pair("ca").key.read_bytes(),
                front_proxy=front_proxy_of(self._certificates),
                front_proxy_ca_pem=self._certificates.front_proxy_ca_file.read_bytes(),
                api=self._api,
                with_controllers=self._controllers,
                with_scheduler=self._scheduler,
            ),
            clock=self._clock,
        )
        server = await serve(
            self.plane.api.handle,
            "127.0.0.1",
            0,
            tls=tls,
            limits=API_LIMITS,
            render_error=render_status,
        )
        self.url = f"https://127.0.0.1:{server.port}"
        self._write_kubeconfig()
        async with Scope("test-cluster") as scope:
            await self.plane.start(scope)
            if self._nodes:
                self.simulated = SimulatedNodes(
                    self.plane.client(ADMIN),
                    self._nodes,
                    life_cycle=self._life_cycle,
                    clock=self._clock,
                )
                scope.start(supervise("nodes", self.simulated.run), "nodes")
            self._started.set_result(None)
            stopped = scope.start(self._stopping.wait(), "stop")
            failed = scope.start(scope.wait_failed(), "failure")
            await asyncio.wait({stopped, failed}, return_when=asyncio.FIRST_COMPLETED)
            await server.close(grace_s=0.2)
        await self.plane.stop()

    def _write_kubeconfig(self) -> None:
        made = build_kubeconfig(self._certificates, server=self.url, cluster="kutter-test")
        kubeconfig.save(made, self.kubeconfig_path)

    # Using it

    def run(self, work: Coroutine[Any, Any, T], *, timeout_s: float = 30.0) -> T:
        """Run a coroutine on the cluster's loop and answer its result."""
        assert self._loop is not None, "start the cluster first"
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout_s)

    @property
    def connection(self) -> Connection:
        """The administrator's connection, for :class:`kutter.client.http.HttpTransport`."""
        return kubeconfig.load_connection(self.kubeconfig_path)

    def http_client(self) -> Client:
        """Our client over TLS, to be used on the caller's own event loop."""
        return Client(HttpTransport(self.connection))

    def local_client(self) -> Client:
        """Our client in-process as administrator; use it inside :meth:`run` only."""
        return self.plane.client(ADMIN)

    def kubernetes_client(self) -> Any:
        """An ``ApiClient`` of the official ``kubernetes`` package."""
        from kubernetes import config

        make: Any = config.new_client_from_config
        return make(str(self.kubeconfig_path))
