"""The server process: the control plane behind TLS, from the files of one machine."""

from __future__ import annotations

import asyncio
import contextlib
import signal

import orjson
import uvloop

from kutter.api.errors import ApiError
from kutter.apiserver.aggregation.front_proxy import FrontProxy
from kutter.apiserver.encryption.configuration import ensure_encryption_file
from kutter.apiserver.server import ApiServer
from kutter.base.clock import SYSTEM_CLOCK
from kutter.base.collector import settle
from kutter.base.log import configure_logging, get_logger
from kutter.base.tasks import Scope, supervise
from kutter.cluster.api_options import seconds_of
from kutter.cluster.certificates import Certificates, certificates_of
from kutter.cluster.config import ClusterConfig
from kutter.cluster.control_plane import ControlPlane, ControlPlaneOptions
from kutter.http.client import HttpClient
from kutter.http.messages import Response
from kutter.http.server import HttpServer, Limits, serve
from kutter.http.tls import ServerTls, client_context
from kutter.store.durable import SqliteStore
from kutter.store.interface import StoreError

_log = get_logger("server")

_REASONS = {400: "BadRequest", 413: "RequestEntityTooLarge", 431: "RequestHeaderFieldsTooLarge"}
# Renewal looks this often; certificates are renewed with a third of their life left.
_RENEW_EVERY_S = 3600.0 * 12
# How long answers under way are waited for; less than whoever stops us waits.
SHUTDOWN_GRACE_S = 10.0
# Heads as long as upstream takes: selectors can be.
API_LIMITS = Limits(header_bytes=1 << 20)


def render_status(code: int, message: str) -> Response:
    """What the HTTP layer refuses by itself, as a Status."""
    error = ApiError(code, _REASONS.get(code, "InternalError"), message)
    body = orjson.dumps(error.to_status())
    return Response(code, [("Content-Type", "application/json")], body)


def front_proxy_of(certificates: Certificates) -> FrontProxy:
    """The certificate this cluster's API server speaks for its callers with."""
    pair = certificates.pair("front-proxy-client")
    return FrontProxy(pair.certificate, pair.key)


def run_server(config: ClusterConfig, *, verbose: bool = False) -> int:
    """Serve until SIGTERM or SIGINT; answers the exit code."""
    configure_logging(verbose=verbose)
    try:
        uvloop.run(_serve(config))
    except (OSError, StoreError, ValueError) as error:
        _log.error("server cannot run", error=str(error))
        return 1
    return 0


class _Signals:
    """The first asks to stop, the second to hurry."""

    def __init__(self) -> None:
        self.stopping = asyncio.Event()
        self.hurry = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._take)

    def _take(self) -> None:
        (self.hurry if self.stopping.is_set() else self.stopping).set()


async def drain(
    api: ApiServer, server: HttpServer, *, delay_s: float, hurry: asyncio.Event | None = None
) -> None:
    """End the way clients notice least: not ready any more, but serving for ``delay_s``; then no
    new connections, answers finished, watches ended; what is left after a while is dropped.
    """
    api.health.stopping = True
    async with Scope("drain") as scope:
        hurried = scope.start((hurry or asyncio.Event()).wait(), "hurry")
        if delay_s:
            _log.info("not ready any more, still serving", delay_s=delay_s)
            await asyncio.wait({hurried}, timeout=delay_s)
        closing = scope.start(server.close(grace_s=SHUTDOWN_GRACE_S), "close")
        await asyncio.wait({hurried, closing}, return_when=asyncio.FIRST_COMPLETED)
        if not closing.done():
            await server.close(grace_s=0)
        await closing


async def _serve(config: ClusterConfig) -> None:
    signals = _Signals()
    certificates = certificates_of(config)
    certificates.ensure()
    if not config.encryption_provider_config:
        ensure_encryption_file(config.encryption_file)
        config = config.replace(encryption_provider_config=str(config.encryption_file))
    store = await SqliteStore.open(config.store_file)
    kubelet = certificates.pair("apiserver-kubelet-client")
    node_client = HttpClient(
        tls=client_context(
            ca_file=certificates.ca_file, cert_file=kubelet.certificate, key_file=kubelet.key
        )
    )
    # Pods' certificates are their own affair, and they are not shown ours.
    pod_client = HttpClient(tls=client_context(insecure=True))
    plane = ControlPlane(
        store,
        ControlPlaneOptions(
            token_key_pem=certificates.token_key_file.read_bytes(),
            root_ca_pem=certificates.ca_pem,
            root_ca_key_pem=certificates.pair("ca").key.read_bytes(),
            front_proxy=front_proxy_of(certificates),
            front_proxy_ca_pem=certificates.front_proxy_ca_file.read_bytes(),
            cluster_cidr=config.cluster_cidr,
            service_cidr=config.service_cidr,
            node_ports=f"{config.node_port_first}-{config.node_port_last}",
            cluster_domain=config.cluster_domain,
            address=config.address,
            port=config.api_port,
            api=config,
        ),
        node_client=node_client,
        pod_client=pod_client,
    )
    pair = certificates.pair("apiserver")
    tls = ServerTls(
        pair.certificate,
        pair.key,
        client_ca_file=certificates.ca_file,
        proxy_ca_file=certificates.front_proxy_ca_file,
    )
    everywhere = "0.0.0.0"  # noqa: S104  (the API is the cluster's, TLS guards it)
    server = await serve(
        plane.api.handle,
        everywhere,
        config.api_port,
        tls=tls,
        limits=API_LIMITS,
        render_error=render_status,
    )
    async with Scope("server") as scope:
        await plane.start(scope)
        scope.start(supervise("certificates", lambda: _renew(certificates)), "certificates")
        _log.info("serving", url=config.server_url)
        settle()
        stopped = scope.start(signals.stopping.wait(), "stop")
        failed = scope.start(scope.wait_failed(), "failure")
        await asyncio.wait({stopped, failed}, return_when=asyncio.FIRST_COMPLETED)
        _log.info("stopping")
        delay_s = seconds_of(config, "shutdown_delay_duration") if stopped.done() else 0.0
        await drain(plane.api, server, delay_s=delay_s, hurry=signals.hurry)
    with contextlib.suppress(asyncio.CancelledError):
        await plane.stop()
    await node_client.close()
    await pod_client.close()


async def _renew(certificates: Certificates) -> None:
    while True:
        await SYSTEM_CLOCK.sleep(_RENEW_EVERY_S)
        for name in await asyncio.to_thread(certificates.renew_due, SYSTEM_CLOCK.now()):
            _log.info("certificate renewed", name=name)
