"""API servers to measure: a fresh one of ours in temporary folders, or any other by kubeconfig."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import os
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

from bench.driver import Target, call, need
from bench.measure import cpu_s
from kutter.client.kubeconfig import Connection, load_connection
from kutter.cluster.certificates import certificates_of
from kutter.cluster.config import ClusterConfig, save_config
from kutter.cluster.credentials import write_kubeconfig

SOURCES = Path(__file__).resolve().parents[1] / "src"
NAMESPACE = "bench"
READY_TIMEOUT_S = 30.0
# A server that spends less than a twentieth of a core has nothing left to do.
_SETTLE_S, _SETTLED_SHARE = 0.5, 0.05


def environment() -> dict[str, str]:
    """Ours without what would lead a started kutter elsewhere."""
    strange = ("KUTTER_", "KUBE", "PYTHON")
    kept = {k: v for k, v in os.environ.items() if not k.startswith(strange)}
    # Installed packages come compiled; a checkout is, after its first start.
    cache = tempfile.gettempdir() + f"/kutter-bench-pycache-{os.getuid()}"
    return {**kept, "PYTHONPATH": str(SOURCES), "PYTHONPYCACHEPREFIX": cache}


class OwnServer:
    """``kutter server`` in its default set-up, with its state in a folder that goes away."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="kutter-bench-"))
        self.config = ClusterConfig(
            state_dir=self.folder / "state",
            run_dir=self.folder / "run",
            log_dir=self.folder / "log",
            node_name="bench",
            address="127.0.0.1",
            api_port=_free_port(),
            # The default has room for 256 nodes of a /24 each, as upstream's has.
            cluster_cidr="10.64.0.0/10",
        )
        self.config.state_dir.mkdir(mode=0o711)
        save_config(self.config)
        certificates = certificates_of(self.config)
        certificates.ensure()
        write_kubeconfig(self.config, certificates)
        self.kubeconfig = self.config.kubeconfig_file
        self._process: subprocess.Popen[bytes] | None = None
        self._log = (self.folder / "server.log").open("ab")

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    async def start(self) -> float:
        """Start and wait for ``/readyz``; the seconds that took."""
        started_s = time.perf_counter()
        self._process = subprocess.Popen(  # noqa: ASYNC220  (spawning is part of the measure)
            [sys.executable, "-m", "kutter", "server", f"--state-dir={self.config.state_dir}"],
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
        )
        target = load_target("kutter", self.kubeconfig)
        while True:
            with contextlib.suppress(OSError):
                status, _ = await call(target, "GET", "/readyz")
                if status == 200:
                    return time.perf_counter() - started_s
            if self._process.poll() is not None or (
                time.perf_counter() - started_s > READY_TIMEOUT_S
            ):
                log = (self.folder / "server.log").read_text(errors="replace")
                raise RuntimeError(f"the server does not start:\n{log[-3000:]}")
            await asyncio.sleep(0.005)

    def wait(self) -> None:
        """Take note of a process that somebody killed; ``start`` makes the next one."""
        assert self._process is not None
        self._process.wait(10)

    def stop(self) -> None:
        """End it and wait; safe to repeat."""
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None

    def close(self) -> None:
        self.stop()
        self._log.close()
        shutil.rmtree(self.folder, ignore_errors=True)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def load_target(name: str, kubeconfig: Path, server: str = "") -> Target:
    """The server of a kubeconfig, called as its user. ``server`` overrides where it is."""
    connection = load_connection(kubeconfig)
    url = urlsplit(server or connection.server)
    tls = _tls(connection) if url.scheme == "https" else None
    return Target(
        name=name,
        host=url.hostname or "127.0.0.1",
        port=url.port or (443 if tls else 80),
        tls=tls,
        token=connection.token,
    )


def _tls(connection: Connection, *, with_identity: bool = True) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if connection.insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    else:
        data = connection.ca_data or (
            connection.ca_file.read_bytes() if connection.ca_file else b""
        )
        context.load_verify_locations(cadata=data.decode())
    cert = connection.cert_data or (
        connection.cert_file.read_bytes() if connection.cert_file else b""
    )
    key = connection.key_data or (connection.key_file.read_bytes() if connection.key_file else b"")
    if cert and with_identity:
        with tempfile.NamedTemporaryFile() as pair:
            pair.write(cert.rstrip() + b"\n" + key)
            pair.flush()
            context.load_cert_chain(pair.name)
    return context


async def as_service_account(admin: Target, kubeconfig: Path) -> Target:
    """The same server called with a bound token of a service account that RBAC allows all."""
    namespace = {"metadata": {"name": NAMESPACE}}
    await need(admin, "POST", "/api/v1/namespaces", namespace)
    base = f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts"
    await need(admin, "POST", base, {"metadata": {"name": "driver"}})
    subject = {"kind": "ServiceAccount", "name": "driver", "namespace": NAMESPACE}
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"}
    binding = {"metadata": {"name": "bench-driver"}, "roleRef": role, "subjects": [subject]}
    bindings = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings"
    await need(admin, "POST", bindings, binding)
    answer = await need(
        admin, "POST", f"{base}/driver/token", {"spec": {"expirationSeconds": 7200}}
    )
    connection = load_connection(kubeconfig)
    tls = _tls(connection, with_identity=False) if admin.tls else None
    target = dataclasses.replace(admin, token=answer["status"]["token"], tls=tls)
    path = f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts/default"
    for _ in range(1000):
        if (await call(target, "GET", path))[0] == 200:
            return target
        await asyncio.sleep(0.02)
    raise RuntimeError("the default service account does not appear")


async def settled(pids: tuple[int, ...], *, at_most_s: float = 10.0) -> None:
    """Wait until what a start leaves to do is done, as far as CPU time tells: the server answers
    before it has read in its controllers and what few requests need.
    """
    end_s = time.perf_counter() + at_most_s
    before = cpu_s(pids)
    while time.perf_counter() < end_s:
        await asyncio.sleep(_SETTLE_S)
        now = cpu_s(pids)
        if now - before < _SETTLE_S * _SETTLED_SHARE:
            return
        before = now


@contextlib.asynccontextmanager
async def own_target() -> AsyncIterator[Target]:
    """A fresh server of ours, called as a service account; gone afterwards."""
    server = OwnServer()
    try:
        await server.start()
        admin = load_target("kutter", server.kubeconfig)
        target = await as_service_account(admin, server.kubeconfig)
        await settled((server.pid,))
        yield dataclasses.replace(target, pids=(server.pid,))
    finally:
        server.close()
