"""Between a :class:`~kutter.client.kubeconfig.Connection` and what a request shows: who we are.

Token files are read again when they change; exec plugins follow client.authentication.k8s.io
(https://kubernetes.io/docs/reference/access-authn-authz/authentication/#client-go-credential-plugins).
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import ssl
from datetime import datetime
from pathlib import Path
from typing import Any

from kutter.base.clock import SYSTEM_CLOCK, Clock, parse_time
from kutter.client.kubeconfig import Connection, KubeconfigError
from kutter.http.tls import client_context

_PLUGIN_TIMEOUT_S = 60.0
_TOKEN_CHECK_S = 10.0


class Credentials:
    """Gives headers and TLS; renews both when their sources change."""

    def __init__(self, connection: Connection, clock: Clock = SYSTEM_CLOCK) -> None:
        self._connection = connection
        self._clock = clock
        self._file_token = ""
        self._file_checked = float("-inf")
        self._plugin_status: dict[str, Any] | None = None
        self._plugin_expires: datetime | None = None
        self._plugin_lock = asyncio.Lock()
        self._context: ssl.SSLContext | None = None
        self._context_key: object = None

    async def headers(self) -> dict[str, str]:
        """Headers of each request. Raises KubeconfigError when there is no way to get them."""
        connection = self._connection
        headers: dict[str, str] = {}
        token = connection.token
        if connection.token_file is not None:
            token = self._read_token(connection.token_file) or token
        if connection.exec_plugin is not None:
            token = str((await self._plugin()).get("token") or token)
        if token:
            headers["Authorization"] = f"Bearer {token}"
        elif connection.username:
            pair = f"{connection.username}:{connection.password}".encode()
            headers["Authorization"] = "Basic " + base64.b64encode(pair).decode()
        if connection.impersonate_user:
            headers["Impersonate-User"] = connection.impersonate_user
        return headers

    def can_renew(self) -> bool:
        """Forget what was refused; answers whether trying again may help."""
        if self._connection.exec_plugin is not None:
            self._plugin_status = None
            return True
        if self._connection.token_file is not None:
            old = self._file_token
            self._file_checked = float("-inf")
            return self._read_token(self._connection.token_file) != old
        return False

    def tls(self) -> ssl.SSLContext:
        """The context of a new connection. Raises OSError (ssl.SSLError) for unusable files."""
        connection = self._connection
        status = self._plugin_status or {}
        cert = str(status.get("clientCertificateData") or "").encode() or connection.cert_data
        key = str(status.get("clientKeyData") or "").encode() or connection.key_data
        stamp = [cert, key]
        for file in (connection.ca_file, connection.cert_file, connection.key_file):
            stamp.append(str(os.stat(file).st_mtime_ns).encode() if file is not None else b"")
        if self._context is None or stamp != self._context_key:
            self._context = client_context(
                ca_file=connection.ca_file,
                ca_data=connection.ca_data,
                cert_file=connection.cert_file,
                key_file=connection.key_file,
                cert_data=cert,
                key_data=key,
                insecure=connection.insecure,
            )
            self._context_key = stamp
        return self._context

    def _read_token(self, file: Path) -> str:
        now = self._clock.monotonic()
        if now - self._file_checked >= _TOKEN_CHECK_S:
            try:
                self._file_token = file.read_text().strip() or self._file_token
            except OSError as error:
                if not self._file_token:
                    raise KubeconfigError(f"cannot read {file}: {error.strerror}") from error
            self._file_checked = now
        return self._file_token

    async def _plugin(self) -> dict[str, Any]:
        async with self._plugin_lock:  # one question at a time: a plugin may ask the user
            expires = self._plugin_expires
            if self._plugin_status is None or (expires and expires <= self._clock.now()):
                self._plugin_status = await self._run_plugin()
                stamp = self._plugin_status.get("expirationTimestamp")
                self._plugin_expires = parse_time(str(stamp)) if stamp else None
            return self._plugin_status

    async def _run_plugin(self) -> dict[str, Any]:
        plugin = self._connection.exec_plugin
        assert plugin is not None
        version = str(plugin.get("apiVersion") or "client.authentication.k8s.io/v1")
        spec: dict[str, Any] = {"interactive": False}
        if plugin.get("provideClusterInfo"):
            connection = self._connection
            spec["cluster"] = {
                "server": connection.server,
                "tls-server-name": connection.tls_server_name,
                "insecure-skip-tls-verify": connection.insecure,
                "certificate-authority-data": base64.b64encode(
                    connection.ca_data
                    or (connection.ca_file.read_bytes() if connection.ca_file else b"")
                ).decode(),
            }
        asked = {"apiVersion": version, "kind": "ExecCredential", "spec": spec}
        environ = {**os.environ, "KUBERNETES_EXEC_INFO": json.dumps(asked)}
        for pair in plugin.get("env") or ():
            environ[str(pair["name"])] = str(pair.get("value") or "")
        command = str(plugin.get("command") or "")
        try:
            process = await asyncio.create_subprocess_exec(
                command,
                *map(str, plugin.get("args") or ()),
                env=environ,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
            )
        except OSError as error:
            hint = str(plugin.get("installHint") or "")
            message = f"cannot run the credential plugin {command}: {error.strerror}"
            raise KubeconfigError(f"{message}\n{hint}".rstrip()) from error
        try:
            async with asyncio.timeout(_PLUGIN_TIMEOUT_S):
                out, _ = await process.communicate()
        except BaseException:
            if process.returncode is None:
                process.kill()
                await process.wait()
            raise
        if process.returncode:
            raise KubeconfigError(
                f"the credential plugin {command} failed with exit code {process.returncode}"
            )
        return _read_status(command, version, out)


def _read_status(command: str, version: str, out: bytes) -> dict[str, Any]:
    try:
        answer = json.loads(out)
    except ValueError as error:
        raise KubeconfigError(f"the credential plugin {command} did not answer JSON") from error
    status = answer.get("status") if isinstance(answer, dict) else None
    if not isinstance(status, dict) or answer.get("kind") != "ExecCredential":
        raise KubeconfigError(f"the credential plugin {command} answered no ExecCredential status")
    if answer.get("apiVersion") != version:
        raise KubeconfigError(
            f"the credential plugin {command} answered {answer.get('apiVersion')}, not {version}"
        )
    return status
