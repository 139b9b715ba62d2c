"""Files as kubectl writes them, merged and resolved as client-go does."""

from __future__ import annotations

from pathlib import Path

import pytest

from kutter.client.kubeconfig import (
    Kubeconfig,
    KubeconfigError,
    encode_data,
    in_cluster,
    load,
    load_connection,
    load_file,
    parse,
    save,
)

ONE = """
apiVersion: v1
kind: Config
current-context: one
preferences: {colors: true}
clusters:
- name: c1
  cluster: {server: https://one:6443/, certificate-authority: pki/ca.crt, tls-server-name: api}
contexts:
- name: one
  context: {cluster: c1, user: u1, namespace: web}
- name: broken
  context: {cluster: missing, user: u1}
users:
- name: u1
  user: {token: first, client-certificate: /abs/c.pem, client-key: k.pem}
"""
TWO = """
current-context: two
clusters:
- name: c1
  cluster: {server: https://ignored}
- name: c2
  cluster: {server: "http://two:8080", insecure-skip-tls-verify: true}
contexts:
- name: two
  context: {cluster: c2, user: u2}
users:
- name: u1
  user: {token: ignored}
- name: u2
  user: {username: me, password: pw, as: other, as-groups: [a, b], tokenFile: t}
"""


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    one, two = tmp_path / "a" / "config", tmp_path / "b" / "config"
    one.write_text(ONE)
    two.write_text(TWO)
    return [one, two]


def test_list_of_files_first_wins_and_paths_belong_to_their_file(files: list[Path]) -> None:
    environ = {"KUBECONFIG": f"{files[0]}:/does/not/exist:{files[1]}"}
    connection = load_connection(environ=environ)
    assert connection.server == "https://one:6443"
    assert connection.namespace == "web"
    assert connection.context == "one"
    assert connection.ca_file == files[0].parent / "pki/ca.crt"
    assert connection.cert_file == Path("/abs/c.pem")
    assert connection.key_file == files[0].parent / "k.pem"
    assert connection.token == "first"
    assert connection.tls_server_name == "api"
    other = load_connection(environ=environ, context="two", namespace="ns")
    assert (other.server, other.namespace, other.insecure) == ("http://two:8080", "ns", True)
    assert (other.username, other.password) == ("me", "pw")
    assert (other.impersonate_user, other.impersonate_groups) == ("other", ("a", "b"))
    assert other.token_file == files[1].parent / "t"


def test_home_and_pod(files: list[Path], tmp_path: Path) -> None:
    kube = tmp_path / ".kube"
    kube.mkdir()
    (kube / "config").write_text(TWO)
    assert load_connection(environ={"HOME": str(tmp_path)}).context == "two"
    with pytest.raises(KubeconfigError, match="no kubeconfig found"):
        load_connection(environ={"HOME": str(tmp_path / "nobody")})
    inside = tmp_path / "sa"
    inside.mkdir()
    environ = {"KUBERNETES_SERVICE_HOST": "fd00::1", "KUBERNETES_SERVICE_PORT": "443"}
    assert in_cluster(environ, inside) is None
    (inside / "token").write_text("t")
    (inside / "namespace").write_text("ns\n")
    connection = in_cluster(environ, inside)
    assert connection is not None
    assert connection.server == "https://[fd00::1]:443"
    assert (connection.namespace, connection.token_file) == ("ns", inside / "token")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"context": "nope"}, 'context "nope" does not exist'),
        ({"context": "broken"}, 'cluster "missing" does not exist'),
        ({"user": "nobody"}, 'user "nobody" does not exist'),
    ],
)
def test_errors_are_one_sentence(files: list[Path], options: dict, message: str) -> None:
    with pytest.raises(KubeconfigError, match=message):
        load_connection(files[0], **options)


def test_unusable_files(tmp_path: Path) -> None:
    with pytest.raises(KubeconfigError, match="does not exist"):
        load(tmp_path / "none")
    for text, message in (
        ("a: [", "not valid YAML"),
        ("just text", "not a kubeconfig"),
        ("clusters: [{cluster: {}}]", "has no name"),
        ("!!python/object/apply:os.system [ls]", "not valid YAML"),
    ):
        with pytest.raises(KubeconfigError, match=message):
            parse(text)
    config = Kubeconfig()
    config.set_cluster_entry(
        "x", cluster={"server": "https://h", "certificate-authority-data": "é"}, user={}
    )
    with pytest.raises(KubeconfigError, match="base64"):
        config.connection()


def test_save_keeps_what_it_does_not_know_and_is_private(files: list[Path], tmp_path: Path) -> None:
    config = load_file(files[0])
    config.set_cluster_entry(
        "kutter",
        cluster={
            "server": "https://127.0.0.1:6443",
            "certificate-authority-data": encode_data(b"CA"),
        },
        user={"client-key-data": encode_data(b"KEY")},
        user_name="kutter-admin",
    )
    path = tmp_path / "new" / "config"
    save(config, path)
    assert path.stat().st_mode & 0o777 == 0o600
    again = load_file(path)
    assert again.rest == {"preferences": {"colors": True}}
    connection = again.connection()
    assert (connection.context, connection.ca_data, connection.key_data) == (
        "kutter",
        b"CA",
        b"KEY",
    )
    assert "KEY" not in repr(connection)
    again.remove_cluster_entry("kutter")
    again.remove_cluster_entry("kutter")
    assert "kutter-admin" not in again.users
    assert again.connection().context == "one"
