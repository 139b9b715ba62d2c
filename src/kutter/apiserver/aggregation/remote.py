"""One APIService that names a service: where its server is, and asking it.

Between the pipeline and an aggregated API server. What it answers is passed on as it is; what
keeps it from answering is 503 with upstream's one line of text.
"""

from __future__ import annotations

import base64
import binascii
import ssl
from urllib.parse import quote

from msgspec.structs import replace

from kutter.apiserver.aggregation.documents import Documents
from kutter.apiserver.aggregation.front_proxy import (
    AGGREGATOR,
    FrontProxy,
    identity_headers,
    without_identity,
)
from kutter.apiserver.authn.identity import User
from kutter.apiserver.ports import Tree
from kutter.apiserver.webhooks.errors import describe_failure
from kutter.apiserver.webhooks.targets import NoTargetError, ServiceTargets, Target
from kutter.base.log import get_logger
from kutter.http.client import HttpAnswer, HttpClient
from kutter.http.messages import Request, Response
from kutter.http.relay import proxy_request
from kutter.http.tls import client_context

_CHECK_TIMEOUT_S = 5.0
_CONNECTIONS = 4096  # each watch that passes through holds one
_DOCUMENT_LIMIT_BYTES = 64 * 1024 * 1024
_PATH_SAFE = "/:@!$&'()*+,;=~-._"
# The other server's own, which ours stand for.
_REPLACED = frozenset({"audit-id", "cache-control"})
_OURS = "x-kubernetes-pf-"
_log = get_logger("aggregation")


class Remote:
    """``available`` follows the object's condition; ``documents`` what its server publishes."""

    def __init__(self, tree: Tree, targets: ServiceTargets, front_proxy: FrontProxy | None) -> None:
        spec = tree["spec"]
        service = spec["service"]
        self.name: str = tree["metadata"]["name"]
        self.group: str = spec.get("group") or ""
        self.version: str = spec["version"]
        self.namespace: str = service["namespace"]
        self.service: str = service["name"]
        self.port: int = service.get("port") or 443
        self.available = False
        self.documents = Documents()
        self._targets = targets
        self._front_proxy = front_proxy
        self._insecure = bool(spec.get("insecureSkipTLSVerify"))
        self._problem = ""
        try:
            self._ca_pem = base64.b64decode(spec.get("caBundle") or "", validate=True)
        except binascii.Error as error:
            self._ca_pem, self._problem = b"", f"caBundle: {error}"
        self._context: ssl.SSLContext | None = None
        self._stamp: tuple[int, int] | None = None
        self._client = HttpClient(
            tls=self._tls,
            server_hostname=f"{self.service}.{self.namespace}.svc",
            max_connections=_CONNECTIONS,
        )

    @property
    def path(self) -> str:
        """The root of what it serves; answers discovery."""
        return f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"

    def retire(self) -> None:
        """Ask no more; what is under way ends by itself."""
        self._client.retire()

    # -- passing on -------------------------------------------------------------

    async def forward(
        self, request: Request, user: User, audit_id: str, *, timeout_s: float
    ) -> Response:
        """The other server's answer to a caller's request."""
        if not self.available:
            return _refusal(503, "service unavailable")
        try:
            target = self._target()
        except NoTargetError as error:
            _log.warning("no way to an aggregated server", name=self.name, error=str(error))
            return _refusal(503, "service unavailable")
        pairs = without_identity(request.header_list or list(request.headers.items()))
        pairs = [(name.lower(), value) for name, value in pairs]
        set_headers = [*identity_headers(user), ("Audit-Id", audit_id)]
        if request.local_user is None and request.remote_address:
            before = request.headers.get("x-forwarded-for")
            origin = request.remote_address
            set_headers.append(("X-Forwarded-For", f"{before}, {origin}" if before else origin))
        passed = replace(request, header_list=pairs)
        query = f"?{request.raw_query}" if request.raw_query else ""
        try:
            answer = await proxy_request(
                passed,
                self._client,
                f"{_origin(target)}{_raw_path(request)}{query}",
                set_headers=set_headers,
                timeout_s=timeout_s,
            )
        except (OSError, ValueError) as error:
            return _refusal(503, f"error trying to reach service: {self._failure(error, target)}")
        if 300 <= answer.status < 400 and any(n.lower() == "location" for n, _ in answer.headers):
            await _drop(answer)
            text = "the backend attempted to redirect this request, which is not permitted"
            return _refusal(502, text)
        answer.headers = [
            pair
            for pair in answer.headers
            if pair[0].lower() not in _REPLACED and not pair[0].lower().startswith(_OURS)
        ]
        return answer

    # -- asking for ourselves ---------------------------------------------------

    async def get(self, path: str, accept: str = "application/json") -> HttpAnswer:
        """A document, asked for as the aggregator itself. Raises OSError."""
        target = self._target()
        pairs = [*identity_headers(AGGREGATOR), ("Accept", accept), ("User-Agent", "kutter")]
        return await self._client.request(
            "GET",
            _origin(target) + path,
            headers=pairs,
            timeout_s=_CHECK_TIMEOUT_S,
            limit_bytes=_DOCUMENT_LIMIT_BYTES,
        )

    async def check(self) -> str:
        """Why discovery fails; empty when it answers."""
        if self._problem:
            return self._problem
        try:
            target = self._target()
        except NoTargetError as error:
            return str(error)
        url = _origin(target) + self.path
        try:
            answer = await self.get(self.path)
        except (OSError, ValueError) as error:
            shown = f'Get "{url}": {self._failure(error, target)}'
            return f"failing or missing response from {url}: {shown}"
        if not 200 <= answer.status < 300:
            bad = f"bad status from {url}: {answer.status}"
            return f"failing or missing response from {url}: {bad}"
        return ""

    # -- inside -----------------------------------------------------------------

    def _target(self) -> Target:
        return self._targets.resolve(self.namespace, self.service, self.port)

    def _failure(self, error: Exception, target: Target) -> str:
        if isinstance(error, OSError):
            return describe_failure(error, f"{target.host}:{target.port}")
        return str(error)

    def _tls(self) -> ssl.SSLContext:
        proxy = self._front_proxy
        stamp = proxy.stamp() if proxy is not None else None
        if self._context is None or stamp != self._stamp:
            if proxy is None:
                self._context = client_context(ca_data=self._ca_pem, insecure=self._insecure)
            else:
                self._context = proxy.context(ca_pem=self._ca_pem, insecure=self._insecure)
            self._stamp = stamp
        return self._context


def _origin(target: Target) -> str:
    host = f"[{target.host}]" if ":" in target.host else target.host
    return f"https://{host}:{target.port}"


def _raw_path(request: Request) -> str:
    if request.local_user is None and request.raw_path:
        return request.raw_path
    return quote(request.path, safe=_PATH_SAFE)


def _refusal(status: int, text: str) -> Response:
    headers = [
        ("Content-Type", "text/plain; charset=utf-8"),
        ("X-Content-Type-Options", "nosniff"),
    ]
    return Response(status, headers, f"{text}\n".encode())


async def _drop(answer: Response) -> None:
    close = getattr(answer.stream or answer.upgrade, "aclose", None)
    if close is not None:
        await close()
