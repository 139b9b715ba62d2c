from __future__ import annotations

import socket
import ssl
import stat
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml
from cryptography import x509

from kutter.client.kubeconfig import load_connection, save
from kutter.cluster.admin_kubeconfig import build_kubeconfig
from kutter.cluster.certificates import Certificates, Pair


class ShiftedClock:
    """The machine's time (TLS looks at it), moved by hand."""

    def __init__(self) -> None:
        self.offset = timedelta()

    def now(self) -> datetime:
        return datetime.now(UTC) + self.offset

    def monotonic(self) -> float:
        return 0.0

    async def sleep(self, delay_s: float) -> None:
        self.offset += timedelta(seconds=delay_s)


@pytest.fixture
def clock() -> ShiftedClock:
    return ShiftedClock()


@pytest.fixture
def made(tmp_path: Path, clock: ShiftedClock) -> Certificates:
    certificates = Certificates(tmp_path / "pki", hosts=["box.example", "192.0.2.7"], clock=clock)
    certificates.ensure()
    return certificates


def load(pair: Pair) -> x509.Certificate:
    return x509.load_pem_x509_certificate(pair.certificate.read_bytes())


def handshake(
    made: Certificates, client: str, name: str, *, trust: Path | None = None, server: str = ""
) -> dict[str, object] | None:
    """A TLS connection over a socket pair; the client's certificate as the server saw it."""
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    pair = made.pair(server or "apiserver")
    serving.load_cert_chain(pair.certificate, pair.key)
    serving.load_verify_locations(made.ca_file)
    serving.verify_mode = ssl.CERT_OPTIONAL
    calling = ssl.create_default_context(cafile=str(trust or made.ca_file))
    if client:
        mine = made.pair(client)
        calling.load_cert_chain(mine.certificate, mine.key)
    ours, theirs = socket.socketpair()
    seen: list[dict[str, object] | None] = []

    def serve() -> None:
        try:
            with serving.wrap_socket(ours, server_side=True) as connection:
                seen.append(connection.getpeercert())
                connection.sendall(b"x")
        except (ssl.SSLError, OSError):
            ours.close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        with calling.wrap_socket(theirs, server_hostname=name) as connection:
            if connection.recv(1) != b"x":
                raise ConnectionError("refused by the server")
    finally:
        theirs.close()
        thread.join(5)
    return seen[0]


@pytest.mark.parametrize(
    "name",
    [
        "kubernetes",
        "kubernetes.default",
        "kubernetes.default.svc",
        "kubernetes.default.svc.cluster.local",
        "localhost",
        "127.0.0.1",
        "::1",
        "10.96.0.1",
        "box.example",
        "192.0.2.7",
    ],
)
def test_the_server_is_trusted_under_all_its_names(made: Certificates, name: str) -> None:
    peer = handshake(made, "admin", name)
    assert peer is not None
    assert (("commonName", "kubernetes-admin"),) in peer["subject"]  # type: ignore[operator]
    assert (("organizationName", "kutter:cluster-admins"),) in peer["subject"]  # type: ignore[operator]


def test_other_names_and_other_authorities_are_not(made: Certificates) -> None:
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(made, "admin", "elsewhere.example")
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(made, "admin", "localhost", trust=made.front_proxy_ca_file)


def test_clients_of_the_front_proxy_authority_are_refused(made: Certificates) -> None:
    with pytest.raises((ssl.SSLError, OSError)):
        handshake(made, "front-proxy-client", "localhost")


def test_a_client_may_come_without_certificate(made: Certificates) -> None:
    assert not handshake(made, "", "localhost")


def test_nodes(made: Certificates) -> None:
    client, serving = made.issue_node("n1", ["192.0.2.9", "n1.example"])
    assert load(client).subject.rfc4514_string() == "CN=system:node:n1,O=system:nodes"
    assert handshake(made, "apiserver-kubelet-client", "192.0.2.9", server="nodes/n1-serving")
    assert handshake(made, "nodes/n1-client", "localhost")
    before = serving.certificate.read_bytes()
    made.issue_node("n1", ["192.0.2.9"])
    assert serving.certificate.read_bytes() == before
    made.issue_node("n1", ["192.0.2.10"])
    assert serving.certificate.read_bytes() != before


def test_keys_are_private_and_pairs_match(made: Certificates) -> None:
    made.issue_node("n1", [])
    keys = list(made.folder.rglob("*.key"))
    assert len(keys) == 12
    assert {stat.S_IMODE(k.stat().st_mode) for k in keys} == {0o600}
    assert stat.S_IMODE(made.folder.stat().st_mode) == 0o700
    assert not list(made.folder.rglob(".*"))


def test_the_second_start_changes_nothing(made: Certificates, clock: ShiftedClock) -> None:
    before = {p: p.read_bytes() for p in made.folder.rglob("*.*")}
    again = Certificates(made.folder, hosts=["box.example", "192.0.2.7"], clock=clock)
    assert again.ensure() == []
    assert {p: p.read_bytes() for p in made.folder.rglob("*.*")} == before


def test_leaves_renew_in_the_last_third(made: Certificates, clock: ShiftedClock) -> None:
    pair = made.pair("admin")
    old, key = load(pair), pair.key.read_bytes()
    ca = made.ca_pem
    clock.offset = timedelta(days=243)
    assert made.renew_due(clock.now()) == []
    clock.offset = timedelta(days=244)
    assert set(made.renew_due(clock.now())) >= {"admin", "apiserver", "scheduler"}
    new = load(pair)
    assert new.not_valid_after_utc - old.not_valid_after_utc == pytest.approx(
        timedelta(days=244), abs=timedelta(minutes=1)
    )
    assert new.serial_number != old.serial_number
    assert pair.key.read_bytes() == key
    assert made.ca_pem == ca
    assert made.renew_due(clock.now()) == []
    authority = load(made.pair("ca"))
    life = authority.not_valid_after_utc - authority.not_valid_before_utc
    assert life > timedelta(days=3650)


def test_a_new_name_is_worth_a_new_certificate(made: Certificates, clock: ShiftedClock) -> None:
    again = Certificates(made.folder, hosts=["new.example"], clock=clock)
    assert again.ensure() == ["apiserver"]
    assert handshake(again, "admin", "new.example")


def test_damage_is_repaired_where_nothing_hangs_on_it(made: Certificates) -> None:
    made.pair("admin").certificate.write_bytes(b"half a certif")
    made.pair("scheduler").key.write_bytes(b"")
    made.pair("controller-manager").key.unlink()
    assert set(made.ensure()) == {"admin", "scheduler", "controller-manager"}
    for identity in ("admin", "scheduler", "controller-manager"):
        assert handshake(made, identity, "localhost")


def test_a_damaged_authority_is_not_replaced(made: Certificates, clock: ShiftedClock) -> None:
    made.pair("ca").key.write_bytes(made.pair("admin").key.read_bytes())
    with pytest.raises(ValueError, match="is not the key of"):
        Certificates(made.folder, clock=clock).ensure()


def test_kubeconfig(made: Certificates, tmp_path: Path) -> None:
    built = build_kubeconfig(made, server="https://127.0.0.1:6443", namespace="blue")
    path = tmp_path / "sub" / "config"
    save(built, path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    tree = yaml.safe_load(path.read_text())
    assert tree["clusters"][0]["cluster"]["server"] == "https://127.0.0.1:6443"
    assert tree["contexts"][0]["context"]["namespace"] == "blue"
    assert tree["users"][0]["name"] == tree["contexts"][0]["context"]["user"]
    connection = load_connection(path)
    assert connection.ca_data == made.ca_pem
    assert connection.key_data == made.pair("admin").key.read_bytes()


def test_several_that_make_them_at_once_agree(tmp_path: Path, clock: ShiftedClock) -> None:
    """``kutter up`` and the server it has started both make what is missing."""
    folder, count = tmp_path / "pki", 6
    together = threading.Barrier(count)
    written: list[list[str]] = []

    def make() -> None:
        certificates = Certificates(folder, clock=clock)
        together.wait(20)
        written.append(certificates.ensure())
        certificates.issue_node("n", ("192.0.2.9",))

    threads = [threading.Thread(target=make) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(map(len, written))[:-1] == [0] * (count - 1), "made once"
    made = Certificates(folder, clock=clock)
    authority = load(made.pair("ca"))
    for name in ("apiserver", "admin", "nodes/n-client", "nodes/n-serving"):
        load(made.pair(name)).verify_directly_issued_by(authority)
        ssl.create_default_context().load_cert_chain(*map(str, pair_of(made, name)))
    assert made.ensure() == []


def pair_of(made: Certificates, name: str) -> tuple[Path, Path]:
    pair = made.pair(name)
    return pair.certificate, pair.key


def test_what_is_issued_together_syncs_its_folder_once(
    tmp_path: Path, clock: ShiftedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[Path] = []
    monkeypatch.setattr("kutter.cluster.certificates.sync_folder", synced.append)
    certificates = Certificates(tmp_path / "pki", clock=clock)
    certificates.ensure()
    certificates.issue_node("a", ("192.0.2.1",))
    assert synced == [tmp_path / "pki", tmp_path / "pki" / "nodes"]
    certificates.ensure()
    certificates.issue_node("a", ("192.0.2.1",))
    assert len(synced) == 2
    # What a crash took before the folder was synced is issued again.
    certificates.pair("admin").key.unlink()
    certificates.pair("nodes/a-serving").certificate.write_bytes(b"")
    assert sorted(certificates.ensure()) == ["admin", "nodes/a-serving"]
    assert synced[2:] in ([tmp_path / "pki", tmp_path / "pki" / "nodes"], [synced[1], synced[0]])
    assert certificates.ensure() == []
