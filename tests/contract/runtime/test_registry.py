"""Pulling from registries: Debian's docker-registry, and one of ours that misbehaves.

Root only because unpacking needs it. All traffic is on loopback.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import socket
import ssl
import subprocess
import tarfile
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from kutter.http.messages import Request, Response
from kutter.http.server import HttpServer
from kutter.linux.process import Child, spawn
from kutter.runtime.cri import Auth, ImageAuthError, ImagePullError, PullProgress
from kutter.runtime.embedded.assembly import build_images
from kutter.runtime.embedded.images import EmbeddedImages
from kutter.runtime.embedded.paths import RuntimePaths
from kutter.runtime.embedded.registry import Endpoint, RegistryPuller, RegistrySettings
from kutter.testing.images import BuiltImage, build_image

pytestmark = pytest.mark.root

# kutter:s3cret
_HTPASSWD = "kutter:$2b$04$Eh/n66IM8h7rLW.ETiVXT.ZAhVZi04cC/ebt2XPj4jtTwxwg97ku6\n"


@dataclass
class Store:
    """An image store with its puller, in a folder of its own."""

    images: EmbeddedImages
    puller: RegistryPuller
    paths: RuntimePaths


@pytest.fixture
async def open_store(tmp_path: Path) -> AsyncIterator[Callable[..., Store]]:
    stores: list[Store] = []

    def make(**settings: object) -> Store:
        paths = RuntimePaths(tmp_path / f"root{len(stores)}", tmp_path / "run")
        paths.make()
        puller = RegistryPuller(RegistrySettings(**settings))  # type: ignore[arg-type]
        images = build_images(paths, puller)
        images.load()
        stores.append(Store(images, puller, paths))
        return stores[-1]

    yield make
    for store in stores:
        await store.puller.close()


@pytest.fixture
def image(tmp_path: Path) -> BuiltImage:
    layers = [{f"layer{n}": bytes([n]) * 100_000, "same": str(n)} for n in range(5)]
    return build_image(tmp_path / "image.tar", "app:1", layers=layers, cmd=("/x",), user="1234:5")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.asynccontextmanager
async def _docker_registry(folder: Path, *, auth: bool = False) -> AsyncIterator[str]:
    """Debian's registry on loopback; answers its ``host:port``."""
    address = f"127.0.0.1:{_free_port()}"
    config = {
        "version": "0.1",
        "log": {"level": "error"},
        "storage": {"filesystem": {"rootdirectory": str(folder / "registry")}},
        "http": {"addr": address},
    }
    if auth:
        (folder / "htpasswd").write_text(_HTPASSWD)
        config["auth"] = {"htpasswd": {"realm": "kutter", "path": str(folder / "htpasswd")}}
    path = folder / "registry.json"
    path.write_text(json.dumps(config))  # JSON is YAML
    child: Child = spawn(["docker-registry", "serve", str(path)])
    try:
        host, _, port = address.partition(":")
        async with asyncio.timeout(30):
            while True:
                with contextlib.suppress(OSError):
                    _, writer = await asyncio.open_connection(host, int(port))
                    writer.close()
                    break
                assert child.running, "docker-registry ended"
        yield address
    finally:
        await child.kill()


def _push(image: BuiltImage, target: str, credentials: str = "") -> None:
    command = ["skopeo", "copy", "-q", "--insecure-policy", "--dest-tls-verify=false"]
    if credentials:
        command += ["--dest-creds", credentials]
    subprocess.run(
        [*command, f"oci-archive:{image.path}", f"docker://{target}"], check=True, timeout=30
    )


async def test_pulls_what_skopeo_pushed(
    tmp_path: Path, image: BuiltImage, open_store: Callable[..., Store]
) -> None:
    store = open_store()
    seen: list[PullProgress] = []
    async with _docker_registry(tmp_path) as registry:
        _push(image, f"{registry}/some/app:1")
        pulled = await store.images.pull(f"{registry}/some/app:1", progress=seen.append)
        assert pulled.id == image.id
        assert pulled.repo_tags == (f"{registry}/some/app:1",)
        assert (pulled.uid, pulled.username) == (1234, "")
        digest = pulled.repo_digests[0].partition("@")[2]
        by_digest = await store.images.pull(f"{registry}/some/app@{digest}")
        assert by_digest.id == image.id
        with pytest.raises(ImagePullError, match="not found"):
            await store.images.pull(f"{registry}/some/app:2")
    assert seen[-1].fetched_bytes == seen[-1].total_bytes > 0
    assert [s.fetched_bytes for s in seen] == sorted(s.fetched_bytes for s in seen)
    # Only the config is kept as a blob; the layers are unpacked.
    assert store.images.content.list_digests() == [image.id]
    tops = sorted(path.read_text() for path in store.paths.layers.glob("*/diff/same"))
    assert tops == ["0", "1", "2", "3", "4"]


async def test_basic_auth(
    tmp_path: Path, image: BuiltImage, open_store: Callable[..., Store]
) -> None:
    store = open_store()
    async with _docker_registry(tmp_path, auth=True) as registry:
        name = f"{registry}/private/app:1"
        _push(image, name, "kutter:s3cret")
        with pytest.raises(ImageAuthError):
            await store.images.pull(name)
        with pytest.raises(ImageAuthError):
            await store.images.pull(name, Auth("kutter", "wrong"))
        assert (await store.images.pull(name, Auth("kutter", "s3cret"))).id == image.id


@dataclass
class FakeRegistry:
    """Serves one archive's blobs, with faults and tokens as told."""

    image: BuiltImage
    requests: list[Request] = field(default_factory=list)
    cut_blobs: int = 0  # this many blob answers break off in the middle
    failures: int = 0  # this many answers are 503
    forge: bytes = b""  # appended to every layer
    token: str = ""  # asked for when set
    address: str = ""

    def __post_init__(self) -> None:
        with tarfile.open(self.image.path) as archive:
            self.blobs = {
                "sha256:" + name.rpartition("/")[2]: archive.extractfile(name).read()  # type: ignore[union-attr]
                for name in archive.getnames()
                if name.startswith("blobs/")
            }

    async def __call__(self, request: Request) -> Response:
        self.requests.append(request)
        if request.path == "/token":
            return self._answer_token(request)
        if self.token and request.headers.get("authorization") != f"Bearer {self.token}":
            challenge = f'Bearer realm="http://{self.address}/token",service="fake"'
            return Response(401, [("WWW-Authenticate", challenge)])
        if self.failures:
            self.failures -= 1
            return Response(503)
        *_, kind, name = request.path.split("/")
        if kind == "manifests":
            return self._answer_manifest(name)
        return self._answer_blob(name, request.headers.get("range", ""))

    def _answer_token(self, request: Request) -> Response:
        assert request.param("scope") == "repository:app:pull"
        if request.headers.get("authorization") != "Basic dTpw":
            return Response(401)
        return Response(200, [], json.dumps({"token": self.token}).encode())

    def _answer_manifest(self, name: str) -> Response:
        digest = name if name.startswith("sha256:") else self.image.manifest_digest
        kind = ("Content-Type", "application/vnd.oci.image.manifest.v1+json")
        return Response(200, [kind, ("Docker-Content-Digest", digest)], self.blobs[digest])

    def _answer_blob(self, name: str, wanted: str) -> Response:
        data = self.blobs.get(name)
        if data is None:
            return Response(404)
        if name in self.image.layer_digests:
            data += self.forge
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted else 0
        rest = data[start:]
        if self.cut_blobs and len(rest) > 100:
            self.cut_blobs -= 1

            async def broken() -> AsyncIterator[bytes]:
                yield rest[: len(rest) // 2]
                raise ConnectionResetError("told to")

            return Response(206 if wanted else 200, stream=broken())
        return Response(206 if wanted else 200, body=rest)


@pytest.fixture
async def fake(image: BuiltImage) -> AsyncIterator[FakeRegistry]:
    registry = FakeRegistry(image)
    server = HttpServer(registry)
    await server.listen("127.0.0.1", 0)
    registry.address = f"127.0.0.1:{server.port}"
    yield registry
    await server.close(grace_s=0)


async def test_tokens(fake: FakeRegistry, open_store: Callable[..., Store]) -> None:
    fake.token = "t0ken"
    store = open_store()
    with pytest.raises(ImageAuthError):
        await store.images.pull(f"{fake.address}/app:1")
    image = await store.images.pull(f"{fake.address}/app:1", Auth("u", "p"))
    assert image.id == fake.image.id


async def test_broken_transfers_are_resumed(
    fake: FakeRegistry, open_store: Callable[..., Store]
) -> None:
    fake.cut_blobs, fake.failures = 4, 2
    assert (await open_store().images.pull(f"{fake.address}/app:1")).id == fake.image.id
    ranges = [request.headers.get("range", "") for request in fake.requests]
    assert any(value and value != "bytes=0-" for value in ranges)


async def test_forged_layers_are_refused(
    fake: FakeRegistry, open_store: Callable[..., Store]
) -> None:
    fake.forge = b"evil"
    store = open_store()
    with pytest.raises(ImagePullError, match=r"larger than stated|digest mismatch"):
        await store.images.pull(f"{fake.address}/app:1")
    assert await store.images.list_images() == []


async def test_a_forged_manifest_is_refused(
    fake: FakeRegistry, open_store: Callable[..., Store]
) -> None:
    digest = fake.image.manifest_digest
    fake.blobs[digest] += b" "
    for name in ("app:1", f"app@{digest}"):
        with pytest.raises(ImagePullError, match="digest mismatch"):
            await open_store().images.pull(f"{fake.address}/{name}")


async def test_a_mirror_is_asked_first_and_may_fail(
    fake: FakeRegistry, open_store: Callable[..., Store]
) -> None:
    dead = Endpoint(f"http://127.0.0.1:{_free_port()}", mirror=True)
    alive = Endpoint(f"http://{fake.address}", mirror=True)
    store = open_store(mirrors={"example.test": (dead, alive)})
    store.puller._clock = _NoWait()  # type: ignore[assignment]
    image = await store.images.pull("example.test/app:1", Auth("u", "p"))
    assert image.repo_tags == ("example.test/app:1",)
    assert all(request.param("ns") == "example.test" for request in fake.requests)
    # A registry's credentials are not shown to its mirrors.
    assert all("authorization" not in request.headers for request in fake.requests)


class _NoWait:
    async def sleep(self, delay_s: float) -> None:
        await asyncio.sleep(0)


def _make_certificate(folder: Path) -> tuple[Path, Path]:
    """A self-signed certificate for 127.0.0.1: (certificate, key)."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "registry")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False
        )
        .sign(key, hashes.SHA256())
    )
    paths = folder / "tls.crt", folder / "tls.key"
    paths[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    paths[1].write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return paths


async def test_tls_with_an_own_authority(
    image: BuiltImage, open_store: Callable[..., Store], tmp_path: Path
) -> None:
    certificate, key = _make_certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    registry = FakeRegistry(image)
    server = HttpServer(registry)
    await server.listen("127.0.0.1", 0, tls=context)
    url = f"https://127.0.0.1:{server.port}"
    try:
        for endpoint in (
            Endpoint(url, ca_path=certificate, mirror=True),
            Endpoint(url, skip_verify=True, mirror=True),
        ):
            store = open_store(mirrors={"*": (endpoint,)})
            assert (await store.images.pull("example.test/app:1")).id == image.id
        stranger = open_store(mirrors={"*": (Endpoint(url, mirror=True),)})
        stranger.puller._clock = _NoWait()  # type: ignore[assignment]
        seen = len(registry.requests)
        with pytest.raises(ImagePullError):
            await stranger.images.pull("127.0.0.1:1/app:1")
        assert len(registry.requests) == seen
    finally:
        await server.close(grace_s=0)


async def test_one_pull_for_many_askers(
    fake: FakeRegistry, open_store: Callable[..., Store]
) -> None:
    store = open_store()
    pulls = [store.images.pull(f"{fake.address}/app:1") for _ in range(5)]
    assert {image.id for image in await asyncio.gather(*pulls)} == {fake.image.id}
    manifests = [r for r in fake.requests if "/manifests/" in r.path]
    assert len(manifests) == 1


async def test_layers_that_are_here_are_not_fetched(
    fake: FakeRegistry, open_store: Callable[..., Store], image: BuiltImage, tmp_path: Path
) -> None:
    store = open_store()
    await store.images.import_archive(image.path)
    fake.requests.clear()
    await store.images.pull(f"{fake.address}/app:1")
    asked = [r.path.rpartition("/")[2] for r in fake.requests if "/blobs/" in r.path]
    assert set(asked) <= {image.id}


async def test_the_index_leads_to_this_machines_image(
    fake: FakeRegistry, open_store: Callable[..., Store]
) -> None:
    import platform

    from kutter.runtime.embedded.manifests import ARCHITECTURES

    entries = [
        {
            "digest": "sha256:" + "0" * 64,
            "size": 1,
            "platform": {"os": "windows", "architecture": "amd64"},
        },
        {
            "digest": fake.image.manifest_digest,
            "size": 1,
            "platform": {"os": "linux", "architecture": ARCHITECTURES[platform.machine()]},
        },
    ]
    index = json.dumps({"schemaVersion": 2, "manifests": entries}).encode()
    digest = "sha256:" + hashlib.sha256(index).hexdigest()
    fake.blobs[digest] = index
    image = await open_store().images.pull(f"{fake.address}/app@{digest}")
    assert image.id == fake.image.id
    assert image.repo_digests == (f"{fake.address}/app@{digest}",)
