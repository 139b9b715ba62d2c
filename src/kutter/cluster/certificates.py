"""The cluster's own certificate authorities, certificates and keys: files below one folder.

Between a data folder and everybody who needs an identity (API server, kubelets, administrators,
components). Laws:

* The *cluster* CA signs servers and clients; a separate *front-proxy* CA signs only the
  aggregator's client certificate, so that nobody else's certificate can speak for a user.
* A private key is written before the certificate made from it, atomically and readable by the
  owner alone. A missing or unreadable certificate is issued again from the key that is there, so
  a crash at any point leaves pairs that match.
* A renewal keeps the key and replaces one file: readers see the old pair or the new one.
* CAs live ten years, leaves one; a leaf is due when less than a third of its life is left or
  when it lacks a name it should carry.

File names are kubeadm's (https://kubernetes.io/docs/setup/best-practices/certificates/).
Keys are ECDSA P-256: made in under a millisecond. Service-account tokens are signed with ES256.
"""

from __future__ import annotations

import contextlib
import fcntl
import ipaddress
import os
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from kutter.base.clock import SYSTEM_CLOCK, Clock
from kutter.base.files import sync_folder, write_atomic
from kutter.cluster.config import ClusterConfig

CA_LIFETIME = timedelta(days=3652)
LEAF_LIFETIME = timedelta(days=365)
# Clocks of joining machines may run behind.
_BACKDATED = timedelta(minutes=5)
_RENEW_BELOW = 1 / 3

ADMIN_GROUP = "kutter:cluster-admins"
MASTERS_GROUP = "system:masters"

_CLIENT = ExtendedKeyUsageOID.CLIENT_AUTH
_SERVER = ExtendedKeyUsageOID.SERVER_AUTH


class Pair(msgspec.Struct, frozen=True):
    """The files of one certificate and its key."""

    certificate: Path
    key: Path


class Leaf(msgspec.Struct, frozen=True):
    """What a leaf certificate says. ``sans`` are DNS names and addresses as text."""

    file: str
    common_name: str
    organizations: tuple[str, ...] = ()
    server: bool = False
    client: bool = False
    sans: tuple[str, ...] = ()
    authority: str = "ca"


# Client identities beside nodes. Names and groups are upstream's; the default policy binds them.
_CLIENTS = (
    Leaf("admin", "kubernetes-admin", (ADMIN_GROUP,), client=True),
    Leaf("super-admin", "kubernetes-super-admin", (MASTERS_GROUP,), client=True),
    Leaf("controller-manager", "system:kube-controller-manager", client=True),
    Leaf("scheduler", "system:kube-scheduler", client=True),
    Leaf("apiserver-kubelet-client", "kube-apiserver-kubelet-client", client=True),
    Leaf("front-proxy-client", "front-proxy-client", client=True, authority="front-proxy-ca"),
)


_AUTHORITIES = {"ca": "kutter-ca", "front-proxy-ca": "kutter-front-proxy-ca"}


class Certificates:
    """All certificates of one cluster below ``folder``.

    ``service_addresses`` are the cluster addresses of the ``kubernetes`` service, ``hosts`` the
    names and addresses the API server is reached under beside the standard ones.
    """

    def __init__(
        self,
        folder: Path,
        *,
        service_addresses: Sequence[str] = ("10.96.0.1",),
        hosts: Sequence[str] = (),
        cluster_domain: str = "cluster.local",
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self.folder = folder
        self._clock = clock
        standard = (
            "kubernetes",
            "kubernetes.default",
            "kubernetes.default.svc",
            f"kubernetes.default.svc.{cluster_domain}",
            "localhost",
            "127.0.0.1",
            "::1",
        )
        sans = tuple(dict.fromkeys((*standard, *service_addresses, *hosts)))
        self._leaves: dict[str, Leaf] = {leaf.file: leaf for leaf in _CLIENTS}
        self._leaves["apiserver"] = Leaf("apiserver", "kube-apiserver", server=True, sans=sans)
        self._authorities: dict[str, tuple[x509.Certificate, ec.EllipticCurvePrivateKey]] = {}

    # -- where things are -------------------------------------------------------

    def pair(self, file: str) -> Pair:
        """Files of ``apiserver``, ``admin``, ``super-admin``, ``controller-manager``,
        ``scheduler``, ``apiserver-kubelet-client``, ``front-proxy-client``, ``ca``,
        ``front-proxy-ca`` and of what :meth:`issue_node` issued.
        """
        return Pair(self.folder / f"{file}.crt", self.folder / f"{file}.key")

    @property
    def ca_file(self) -> Path:
        """The certificate everybody trusts servers and clients by."""
        return self.folder / "ca.crt"

    @property
    def ca_pem(self) -> bytes:
        return self.ca_file.read_bytes()

    @property
    def front_proxy_ca_file(self) -> Path:
        return self.folder / "front-proxy-ca.crt"

    @property
    def token_key_file(self) -> Path:
        """The private key that signs service-account tokens."""
        return self.folder / "sa.key"

    @property
    def token_public_key_file(self) -> Path:
        return self.folder / "sa.pub"

    # -- making things ----------------------------------------------------------

    def ensure(self) -> list[str]:
        """Create what is missing and renew what is due; answers the names written.

        Raises OSError, and ValueError for a CA or signing key that cannot be read (never
        replaced silently: every certificate out there hangs on it).
        """
        with self._alone():
            written = [
                name for name, title in _AUTHORITIES.items() if self._ensure_authority(name, title)
            ]
            if self._ensure_token_key():
                written.append("sa")
            return written + self._renew_due(self._clock.now())

    def renew_due(self, now: datetime) -> list[str]:
        """Issue anew, in place, every leaf that is due at ``now``; answers their names."""
        with self._alone():
            return self._renew_due(now)

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """One process at a time: ``up`` and the server it has started both make what is missing."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)

    def _renew_due(self, now: datetime) -> list[str]:
        return self._issue_due(self._leaves.values(), now)

    def _issue_due(self, leaves: Iterable[Leaf], now: datetime) -> list[str]:
        """Issue those that are due. Their folders are synced once for all of them (2 ms each time
        on a common disk, while a start waits): what a crash takes before is issued again.
        """
        due = [leaf for leaf in leaves if self._is_due(leaf, now)]
        for leaf in due:
            self._issue(leaf, now)
        for folder in {self.pair(leaf.file).certificate.parent for leaf in due}:
            sync_folder(folder)
        return [leaf.file for leaf in due]

    def issue_node(self, name: str, addresses: Sequence[str]) -> tuple[Pair, Pair]:
        """The client and the serving certificate of a node, issued or renewed when due.

        From then on :meth:`renew_due` minds them too.
        """
        client = Leaf(f"nodes/{name}-client", f"system:node:{name}", ("system:nodes",), client=True)
        serving = Leaf(
            f"nodes/{name}-serving",
            f"system:node:{name}",
            ("system:nodes",),
            server=True,
            sans=tuple(dict.fromkeys((name, *addresses))),
        )
        now = self._clock.now()
        with self._alone():
            self._leaves |= {leaf.file: leaf for leaf in (client, serving)}
            self._issue_due((client, serving), now)
        return self.pair(client.file), self.pair(serving.file)

    # -- authorities ------------------------------------------------------------

    def _ensure_authority(self, name: str, title: str) -> bool:
        pair = self.pair(name)
        if pair.certificate.exists():
            self._authority(name)
            return False
        key = _ensure_key(pair.key)
        now = self._clock.now()
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, title)])
        certificate = (
            _builder(subject, subject, key.public_key(), now, CA_LIFETIME)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(_key_usage(authority=True), critical=True)
            .sign(key, hashes.SHA256())
        )
        write_atomic(pair.certificate, _certificate_pem(certificate), mode=0o644)
        self._authorities[name] = (certificate, key)
        return True

    def _authority(self, name: str) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
        found = self._authorities.get(name)
        if found is None:
            pair = self.pair(name)
            certificate = x509.load_pem_x509_certificate(pair.certificate.read_bytes())
            key = _load_key(pair.key)
            if key.public_key() != certificate.public_key():
                raise ValueError(f"{pair.key} is not the key of {pair.certificate}")
            found = self._authorities[name] = (certificate, key)
        return found

    def _ensure_token_key(self) -> bool:
        fresh = not self.token_key_file.exists()
        key = _ensure_key(self.token_key_file)
        if fresh or not self.token_public_key_file.exists():
            write_atomic(self.token_public_key_file, _public_pem(key), mode=0o644)
        return fresh

    # -- leaves -----------------------------------------------------------------

    def _is_due(self, leaf: Leaf, now: datetime) -> bool:
        pair = self.pair(leaf.file)
        try:
            certificate = x509.load_pem_x509_certificate(pair.certificate.read_bytes())
            key = _load_key(pair.key)
        except (OSError, ValueError):
            return True
        authority, _ = self._authority(leaf.authority)
        begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
        return (
            (end - now) < (end - begin) * _RENEW_BELOW
            or key.public_key() != certificate.public_key()
            or certificate.issuer != authority.subject
            or not _signed_by(certificate, authority)
            or not set(leaf.sans) <= _sans_of(certificate)
        )

    def _issue(self, leaf: Leaf, now: datetime) -> None:
        pair = self.pair(leaf.file)
        try:
            key = _ensure_key(pair.key, last=False)
        except ValueError:  # damaged: nothing hangs on a leaf's key
            pair.key.unlink()
            key = _ensure_key(pair.key, last=False)
        authority, authority_key = self._authority(leaf.authority)
        subject = x509.Name(
            [
                *(x509.NameAttribute(NameOID.ORGANIZATION_NAME, o) for o in leaf.organizations),
                x509.NameAttribute(NameOID.COMMON_NAME, leaf.common_name),
            ]
        )
        usages = [u for u, wanted in ((_SERVER, leaf.server), (_CLIENT, leaf.client)) if wanted]
        builder = (
            _builder(subject, authority.subject, key.public_key(), now, LEAF_LIFETIME)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(authority=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()),
                critical=False,
            )
        )
        if leaf.sans:
            builder = builder.add_extension(
                x509.SubjectAlternativeName([_general_name(s) for s in leaf.sans]), critical=False
            )
        certificate = builder.sign(authority_key, hashes.SHA256())
        write_atomic(pair.certificate, _certificate_pem(certificate), mode=0o644, last=False)


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    public_key: ec.EllipticCurvePublicKey,
    now: datetime,
    lifetime: timedelta,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACKDATED)
        .not_valid_after(now + lifetime)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
    )


def _key_usage(*, authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=authority,
        crl_sign=authority,
        encipher_only=False,
        decipher_only=False,
    )


def _general_name(text: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(text))
    except ValueError:
        return x509.DNSName(text)


def _sans_of(certificate: x509.Certificate) -> set[str]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return set()
    return {str(name.value) for name in names}


def _signed_by(certificate: x509.Certificate, authority: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(authority)
    except Exception:  # ValueError, TypeError or InvalidSignature: not ours
        return False
    return True


def _ensure_key(path: Path, *, last: bool = True) -> ec.EllipticCurvePrivateKey:
    if path.exists():
        return _load_key(path)
    key = ec.generate_private_key(ec.SECP256R1())
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    write_atomic(path, pem, mode=0o600, last=last)
    return key


def _load_key(path: Path) -> ec.EllipticCurvePrivateKey:
    key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ValueError(f"{path} is not an ECDSA key")  # noqa: TRY004  (content, not a type)
    return key


def _certificate_pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _public_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def certificates_of(config: ClusterConfig) -> Certificates:
    """The cluster's certificates, where they are kept."""
    return Certificates(
        config.pki_dir,
        service_addresses=(config.service_address,),
        hosts=tuple(dict.fromkeys((config.address, config.node_name))),
        cluster_domain=config.cluster_domain,
    )
