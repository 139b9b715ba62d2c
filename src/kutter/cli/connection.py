"""Between the connection flags every command shares and a :class:`Session`.

Order: flags, ``$KUBECONFIG`` or ``~/.kube/config``, a pod's own account, and last the
administrator's kubeconfig of the cluster on this machine, if it may be read.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
from pathlib import Path
from typing import TYPE_CHECKING

from kutter.cli.command import CommandError, Parser
from kutter.cli.leading import VALUE_FLAGS
from kutter.cli.session import Session

if TYPE_CHECKING:
    from kutter.client.kubeconfig import Connection

LOCAL_STATE = "/var/lib/kutter"


def add_connection_flags(parser: Parser, *, namespace: bool = True) -> None:
    """Flags that say where the server is and who asks."""
    group = parser.add_argument_group("connection")
    if namespace:
        group.add_argument("-n", "--namespace", metavar="NS", default="", help="the namespace")
    group.add_argument("-s", "--server", metavar="URL", default="", help="the API server's address")
    group.add_argument("-v", "--v", dest="verbosity", metavar="N", type=int, default=0,
                       help="6 or more prints the requests made")  # fmt: skip
    for name, text in VALUE_FLAGS:
        repeated = name == "as-group"
        group.add_argument(
            f"--{name}",
            metavar="VALUE",
            help=text,
            action="append" if repeated else "store",
            default=[] if repeated else "",
            dest=f"flag_{name.replace('-', '_')}",
        )
    parser.switch(
        "--insecure-skip-tls-verify", help="do not check the server's certificate (unsafe)"
    )


def open_session(parsed: argparse.Namespace) -> Session:
    """The session the flags ask for. Raises CommandError."""
    connection = find_connection(parsed)
    return Session(
        connection,
        cache_dir=parsed.flag_cache_dir,
        namespace=getattr(parsed, "namespace", ""),
        timeout_s=_timeout(parsed.flag_request_timeout),
        verbosity=parsed.verbosity,
    )


def find_connection(parsed: argparse.Namespace) -> Connection:
    """Where to connect and as whom. Raises CommandError."""
    from kutter.client.kubeconfig import Connection, KubeconfigError, load_connection

    given = getattr(parsed, "flag_kubeconfig", "")
    try:
        if parsed.server and not given and not _has_kubeconfig():
            connection = Connection(server=_url(parsed.server))
        else:
            connection = load_connection(
                Path(given) if given else _local_kubeconfig(),
                context=parsed.flag_context,
                cluster=parsed.flag_cluster,
                user=getattr(parsed, "flag_user", ""),
            )
    except KubeconfigError as error:
        hint = "'kutter config view' shows what is configured"
        if "no kubeconfig" in str(error):
            raise CommandError("there is no kubeconfig and no cluster on this machine",
                               hint="start one with 'sudo kutter up', or set KUBECONFIG",
                               ) from error  # fmt: skip
        raise CommandError(str(error), hint=hint) from error
    changes: dict[str, object] = {}
    if parsed.server:
        changes["server"] = _url(parsed.server)
    if parsed.flag_token:
        changes |= {"token": parsed.flag_token, "token_file": None, "exec_plugin": None}
    if parsed.flag_as:
        changes["impersonate_user"] = parsed.flag_as
    if parsed.flag_as_group:
        changes["impersonate_groups"] = tuple(parsed.flag_as_group)
    if parsed.flag_certificate_authority:
        changes |= {"ca_file": Path(parsed.flag_certificate_authority), "ca_data": b""}
    if parsed.flag_client_certificate:
        changes |= {"cert_file": Path(parsed.flag_client_certificate), "cert_data": b""}
    if parsed.flag_client_key:
        changes |= {"key_file": Path(parsed.flag_client_key), "key_data": b""}
    if parsed.flag_tls_server_name:
        changes["tls_server_name"] = parsed.flag_tls_server_name
    if parsed.insecure_skip_tls_verify:
        changes["insecure"] = True
    return dataclasses.replace(connection, **changes) if changes else connection  # type: ignore[arg-type]


def local_kubeconfig_path() -> Path:
    """The administrator's kubeconfig of the cluster on this machine."""
    return Path(os.environ.get("KUTTER_STATE_DIR", LOCAL_STATE)) / "admin.kubeconfig"


def _has_kubeconfig() -> bool:
    from kutter.client.kubeconfig import default_paths

    return any(path.exists() for path in default_paths())


def _local_kubeconfig() -> Path | None:
    """The local cluster's file, when nothing else is configured and we may read it."""
    if _has_kubeconfig() or os.environ.get("KUBERNETES_SERVICE_HOST"):
        return None
    path = local_kubeconfig_path()
    try:
        if not path.exists():
            return None
    except PermissionError:
        pass
    if not os.access(path, os.R_OK):
        raise CommandError(
            f"the cluster's kubeconfig {path} may be read by root only",
            hint="use sudo, or 'sudo kutter kubeconfig > ~/.kube/config'",
        )
    return path


def _url(server: str) -> str:
    return server.rstrip("/") if "://" in server else f"http://{server}".rstrip("/")


def _timeout(text: str) -> float | None:
    if text in ("", "0"):
        return None
    from kutter.api.durations import parse

    try:
        return float(text) if text.replace(".", "").isdigit() else parse(text)
    except ValueError as error:
        raise CommandError(f"invalid --request-timeout {text!r}: expected 30, 30s, 2m") from error
