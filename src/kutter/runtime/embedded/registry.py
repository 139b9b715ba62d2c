"""Pulls images from registries: OCI distribution and Docker's v2 protocol.

https://github.com/opencontainers/distribution-spec. Laws. Every byte is verified against the
digest it was asked by (a tag's manifest against the digest the registry states). Layers come
in parallel, a broken transfer is resumed where it broke, and layers that are already unpacked
are not fetched at all. A mirror that fails is passed over for the next endpoint.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote, urlencode, urlsplit

from kutter.base.backoff import Backoff
from kutter.base.clock import SYSTEM_CLOCK, Clock
from kutter.base.log import get_logger
from kutter.http.client import HttpClient, HttpStream
from kutter.runtime.cri import Auth, ImageAuthError, ImagePullError, PullProgress
from kutter.runtime.embedded.content import DigestError, Ingest, compute_digest
from kutter.runtime.embedded.images import ImageTarget
from kutter.runtime.embedded.layers import compute_chain_ids
from kutter.runtime.embedded.manifests import (
    INDEX_TYPES,
    MANIFEST_MAX_BYTES,
    MANIFEST_TYPES,
    Descriptor,
    Manifest,
    choose_platform,
    parse_config,
    parse_index,
    parse_manifest,
)
from kutter.runtime.embedded.references import DEFAULT_REGISTRY, Reference, parse_reference
from kutter.runtime.embedded.registry_auth import Authorizer

_log = get_logger("registry")
_PARALLEL_LAYERS = 3
_ATTEMPTS = 5
_WRITE_BYTES = 1 << 20
_HEAD_TIMEOUT_S = 60.0
_CHUNK_TIMEOUT_S = 60.0
_REDIRECTS = 10
_RETRIED = frozenset((408, 429, 500, 502, 503, 504))


class _TransientError(ImagePullError):
    """Worth another try."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One address of a registry. ``url`` without path is ``scheme://host[:port]``."""

    url: str
    skip_verify: bool = False
    ca_path: Path | None = None
    mirror: bool = False


@dataclass(frozen=True, slots=True)
class RegistrySettings:
    """Where registries are. ``mirrors`` are tried before the registry itself.

    Registries in ``insecure`` are spoken to in the clear, as are loopback ones.
    """

    mirrors: Mapping[str, tuple[Endpoint, ...]] = field(default_factory=dict)
    insecure: frozenset[str] = frozenset()
    ca_paths: Mapping[str, Path] = field(default_factory=dict)
    auths: Mapping[str, Auth] = field(default_factory=dict)

    def endpoints(self, registry: str) -> list[Endpoint]:
        """Addresses of a registry in the order they are tried; ``*`` stands for any."""
        found = list(self.mirrors.get(registry, self.mirrors.get("*", ())))
        host = "registry-1.docker.io" if registry == DEFAULT_REGISTRY else registry
        name = urlsplit(f"//{host}").hostname or ""
        local = name in ("localhost", "::1") or name.startswith("127.")
        scheme = "http" if registry in self.insecure or local else "https"
        found.append(Endpoint(f"{scheme}://{host}", ca_path=self.ca_paths.get(registry)))
        return found


class RegistryPuller:
    """Implements :class:`kutter.runtime.embedded.images.Puller`."""

    def __init__(
        self, settings: RegistrySettings | None = None, *, clock: Clock = SYSTEM_CLOCK
    ) -> None:
        self._settings = settings or RegistrySettings()
        self._clock = clock
        self._clients: dict[Endpoint, HttpClient] = {}
        self._blobs: dict[str, asyncio.Lock] = {}

    async def close(self) -> None:
        """Drop connections."""
        for client in self._clients.values():
            await client.close()

    async def pull(
        self,
        reference: str,
        auth: Auth | None,
        target: ImageTarget,
        progress: Callable[[PullProgress], None] | None,
    ) -> tuple[Manifest, str]:
        """Bring config and layers here; the manifest, and the digest ``reference`` stands for."""
        parsed = parse_reference(reference)
        failures: list[ImagePullError] = []
        for endpoint in self._settings.endpoints(parsed.registry):
            # Credentials of a registry are not for its mirrors.
            own = None if endpoint.mirror else auth or self._settings.auths.get(parsed.registry)
            session = _Session(self._client(endpoint), endpoint, parsed, own, self._clock)
            try:
                return await self._pull_from(session, parsed, target, progress)
            except ImagePullError as error:
                failures.append(error)
                if endpoint.mirror:
                    _log.warning("mirror failed", mirror=endpoint.url, error=str(error))
        worst = failures[-1]
        raise type(worst)(f'failed to pull and unpack image "{parsed}": {worst}') from None

    def _client(self, endpoint: Endpoint) -> HttpClient:
        client = self._clients.get(endpoint)
        if client is None:
            context: ssl.SSLContext | None = None
            if endpoint.url.startswith("https"):
                context = ssl.create_default_context(cafile=endpoint.ca_path)
                if endpoint.skip_verify:
                    context.check_hostname = False
                    context.verify_mode = ssl.CERT_NONE
            client = self._clients[endpoint] = HttpClient(tls=context, max_idle=_PARALLEL_LAYERS)
        return client

    async def _pull_from(
        self,
        session: _Session,
        reference: Reference,
        target: ImageTarget,
        progress: Callable[[PullProgress], None] | None,
    ) -> tuple[Manifest, str]:
        manifest, digest = await session.resolve(reference)
        await self._fetch_blob(session, manifest.config, target, lambda _: None)
        config = parse_config(target.content.read(manifest.config.digest))
        chain_ids = compute_chain_ids(config.diff_ids)
        if len(chain_ids) != len(manifest.layers):
            raise ImagePullError("invalid image: config and manifest differ in their layers")
        wanted = {
            layer.digest: layer
            for layer, chain_id in zip(manifest.layers, chain_ids, strict=True)
            if not target.layers.has(chain_id)
        }
        fetched: dict[str, int] = {}
        total = sum(layer.size_bytes for layer in wanted.values())

        def report(digest: str, size: int) -> None:
            fetched[digest] = size
            if progress is not None:
                progress(PullProgress(sum(fetched.values()), total))

        places = asyncio.Semaphore(_PARALLEL_LAYERS)

        async def fetch(layer: Descriptor) -> None:
            async with places:
                await self._fetch_blob(
                    session, layer, target, lambda size: report(layer.digest, size)
                )

        try:
            async with asyncio.TaskGroup() as group:
                for layer in wanted.values():
                    group.create_task(fetch(layer))
        except ExceptionGroup as errors:
            # Not ``except*``: before Python 3.11.4 what is raised in one arrives in a group.
            refused, others = errors.split(ImagePullError)
            if refused is None or others is not None:
                raise
            raise _first(refused) from None
        return manifest, digest

    async def _fetch_blob(
        self,
        session: _Session,
        descriptor: Descriptor,
        target: ImageTarget,
        report: Callable[[int], None],
    ) -> None:
        lock = self._blobs.setdefault(descriptor.digest, asyncio.Lock())
        try:
            async with lock:
                if not target.content.has(descriptor.digest):
                    ingest = await asyncio.to_thread(target.content.open_ingest, descriptor.digest)
                    with ingest:
                        await session.fetch_blob(descriptor, ingest, report)
                report(descriptor.size_bytes)
        finally:
            if not lock.locked():
                self._blobs.pop(descriptor.digest, None)


def _first(errors: BaseExceptionGroup[ImagePullError]) -> ImagePullError:
    error: BaseException = errors
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, ImagePullError)
    return error


class _Session:
    """One pull from one endpoint."""

    def __init__(
        self,
        client: HttpClient,
        endpoint: Endpoint,
        reference: Reference,
        auth: Auth | None,
        clock: Clock,
    ) -> None:
        self._client = client
        self._endpoint = endpoint
        self._reference = reference
        self._clock = clock
        self._authorizer = Authorizer(
            client, auth, reference.repository, endpoint.url.startswith("https")
        )
        self._authorizing = asyncio.Lock()

    def _url(self, kind: str, name: str) -> str:
        base = self._endpoint.url.rstrip("/")
        if not urlsplit(base).path:
            base += "/v2"
        url = f"{base}/{self._reference.repository}/{kind}/{quote(name, safe=':')}"
        if self._endpoint.mirror:
            url += "?" + urlencode({"ns": self._reference.registry})
        return url

    async def _open(self, url: str, headers: dict[str, str]) -> HttpStream:
        """GET with authorization; the caller closes. Raises ImagePullError."""
        for _ in range(4):
            used = self._authorizer.header
            given = {**headers, "Authorization": used} if used else headers
            try:
                answer = await self._client.stream(
                    "GET",
                    url,
                    headers={"User-Agent": "kutter", **given},
                    timeout_s=_HEAD_TIMEOUT_S,
                    redirects=_REDIRECTS,
                    across_hosts=True,
                )
            except OSError as error:
                raise _TransientError(f"failed to do request: {error or 'timeout'}") from None
            if answer.status != 401:
                return answer
            challenge = answer.headers.get("www-authenticate", "")
            await answer.close()
            async with self._authorizing:
                if self._authorizer.header == used:  # nobody else did it meanwhile
                    await self._authorizer.answer(challenge)
        raise ImageAuthError("authorization failed: the registry keeps asking")

    async def _retry_delay(self, backoff: Backoff, attempt: int, error: ImagePullError) -> None:
        if attempt + 1 >= _ATTEMPTS:
            raise error
        await self._clock.sleep(backoff.next())

    # Manifests

    async def resolve(self, reference: Reference) -> tuple[Manifest, str]:
        """The manifest for this machine, and the digest of what ``reference`` names."""
        body, digest = await self._fetch_manifest(reference.target, str(reference))
        entries = parse_index(body)
        if entries is not None:
            chosen = choose_platform(entries)
            if chosen is None:
                raise ImagePullError("no match for platform in manifest: not found")
            body, _ = await self._fetch_manifest(chosen.digest, str(reference))
        return parse_manifest(body), digest

    async def _fetch_manifest(self, name: str, shown: str) -> tuple[bytes, str]:
        backoff = Backoff(initial_s=0.2, maximum_s=5.0)
        headers = {"Accept": ", ".join((*MANIFEST_TYPES, *INDEX_TYPES))}
        for attempt in range(_ATTEMPTS):
            try:
                answer = await self._open(self._url("manifests", name), headers)
                async with answer:
                    _check_status(answer.status, f'failed to resolve reference "{shown}": {shown}')
                    body = await _read_small(answer)
                    stated = answer.headers.get("docker-content-digest", "")
            except _TransientError as error:
                await self._retry_delay(backoff, attempt, error)
                continue
            digest = compute_digest(body)
            wanted = name if name.startswith("sha256:") else stated or digest
            if wanted != digest:
                raise DigestError(f"digest mismatch: want {wanted}, got {digest}")
            return body, digest
        raise AssertionError("unreachable")

    # Blobs

    async def fetch_blob(
        self, descriptor: Descriptor, ingest: Ingest, report: Callable[[int], None]
    ) -> None:
        """Fetch the rest of a blob, resuming after failures, and publish it verified."""
        backoff = Backoff(initial_s=0.2, maximum_s=5.0)
        attempt = 0
        while True:
            before = ingest.offset
            try:
                if not descriptor.size_bytes or ingest.offset != descriptor.size_bytes:
                    await self._fetch_rest(descriptor, ingest, report)
            except _TransientError as error:
                # Progress earns new tries.
                attempt = 0 if ingest.offset > before else attempt + 1
                await self._retry_delay(backoff, attempt, error)
                continue
            await asyncio.to_thread(ingest.commit)
            return

    async def _fetch_rest(
        self, descriptor: Descriptor, ingest: Ingest, report: Callable[[int], None]
    ) -> None:
        headers = {"Range": f"bytes={ingest.offset}-"} if ingest.offset else {}
        answer = await self._open(self._url("blobs", descriptor.digest), headers)
        async with answer:
            if ingest.offset and answer.status in (200, 416):
                await asyncio.to_thread(ingest.restart)
                if answer.status == 416:
                    raise _TransientError("the registry cannot continue this blob")
            if answer.status != 206:
                _check_status(answer.status, f"failed to fetch blob {descriptor.digest}")
            pending = bytearray()
            try:
                while True:
                    async with asyncio.timeout(_CHUNK_TIMEOUT_S):
                        chunk = await answer.read()
                    pending += chunk
                    if len(pending) >= _WRITE_BYTES or not chunk:
                        await asyncio.to_thread(ingest.write, bytes(pending))
                        pending.clear()
                        report(ingest.offset)
                    if not chunk:
                        break
                    limit = descriptor.size_bytes
                    if limit and ingest.offset + len(pending) > limit:
                        raise DigestError(f"blob {descriptor.digest} is larger than stated")
            except (ConnectionError, TimeoutError, ssl.SSLError) as error:
                ingest.write(bytes(pending))
                raise _TransientError(f"transfer broke: {error or 'timeout'}") from None
        if descriptor.size_bytes and ingest.offset < descriptor.size_bytes:
            raise _TransientError("transfer broke: the answer ended early")


async def _read_small(answer: HttpStream) -> bytes:
    body = bytearray()
    try:
        async with asyncio.timeout(_CHUNK_TIMEOUT_S):
            while chunk := await answer.read():
                body += chunk
                if len(body) > MANIFEST_MAX_BYTES:
                    raise ImagePullError("the manifest is too large")
    except OSError as error:
        raise _TransientError(f"transfer broke: {error or 'timeout'}") from None
    return bytes(body)


def _check_status(status: int, what: str) -> None:
    if status == 200:
        return
    if status == 404:
        raise ImagePullError(f"{what}: not found")
    if status in (401, 403):
        raise ImageAuthError(f"{what}: pull access denied, status {status}")
    if status in _RETRIED:
        raise _TransientError(f"{what}: unexpected status {status}")
    raise ImagePullError(f"{what}: unexpected status {status}")
