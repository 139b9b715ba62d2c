"""Between kubeconfig files (or a pod's service account) and what a connection needs.

Loading follows https://kubernetes.io/docs/concepts/configuration/organize-cluster-access-kubeconfig/:
of several files the first that sets a value wins; relative paths belong to their own file; without
any file, a pod's service account is used. A file is never written but through :func:`save`.
"""

from __future__ import annotations

import base64
import binascii
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from kutter.base.files import write_atomic

SERVICE_ACCOUNT_FOLDER = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_SECTIONS = ("clusters", "users", "contexts")
_ITEM_KEY = {"clusters": "cluster", "users": "user", "contexts": "context"}
_PATH_KEYS = ("certificate-authority", "client-certificate", "client-key", "tokenFile")


class KubeconfigError(Exception):
    """The configuration cannot be used; the message is one sentence for the user."""


@dataclass(frozen=True, slots=True)
class Connection:
    """Where the API server is and who we are. ``*_data`` is PEM and wins over files."""

    server: str
    namespace: str = "default"
    context: str = ""
    ca_file: Path | None = None
    ca_data: bytes = b""
    insecure: bool = False
    tls_server_name: str = ""
    cert_file: Path | None = None
    key_file: Path | None = None
    cert_data: bytes = field(default=b"", repr=False)
    key_data: bytes = field(default=b"", repr=False)
    token: str = field(default="", repr=False)
    token_file: Path | None = None  # read again as it is renewed; wins over ``token``
    username: str = ""
    password: str = field(default="", repr=False)
    exec_plugin: Mapping[str, Any] | None = None
    impersonate_user: str = ""
    impersonate_groups: tuple[str, ...] = ()


@dataclass(slots=True)
class Kubeconfig:
    """A merged configuration: plain trees by name, as in the file."""

    clusters: dict[str, dict[str, Any]] = field(default_factory=dict)
    users: dict[str, dict[str, Any]] = field(default_factory=dict)
    contexts: dict[str, dict[str, Any]] = field(default_factory=dict)
    current_context: str = ""
    rest: dict[str, Any] = field(default_factory=dict)  # preferences, extensions

    def section(self, name: str) -> dict[str, dict[str, Any]]:
        """``clusters``, ``users`` or ``contexts``."""
        found: dict[str, dict[str, Any]] = getattr(self, name)
        return found

    def set_cluster_entry(
        self,
        name: str,
        *,
        cluster: dict[str, Any],
        user: dict[str, Any],
        user_name: str = "",
        namespace: str = "",
        make_current: bool = True,
    ) -> None:
        """Add or replace a cluster, its user and the context ``name`` that joins them."""
        user_name = user_name or name
        self.clusters[name] = cluster
        self.users[user_name] = user
        context = {"cluster": name, "user": user_name}
        if namespace:
            context["namespace"] = namespace
        self.contexts[name] = context
        if make_current or not self.current_context:
            self.current_context = name

    def remove_cluster_entry(self, name: str) -> None:
        """Take back what :meth:`set_cluster_entry` added; safe without it."""
        context = self.contexts.pop(name, None)
        self.clusters.pop(name, None)
        if context:
            self.users.pop(str(context.get("user", "")), None)
        if self.current_context == name:
            self.current_context = next(iter(self.contexts), "")

    def connection(
        self, *, context: str = "", cluster: str = "", user: str = "", namespace: str = ""
    ) -> Connection:
        """Resolve a context (default: the current one). Raises KubeconfigError."""
        name = context or self.current_context
        joined: dict[str, Any] = {}
        if name:
            found = self.contexts.get(name)
            if found is None:
                if context or not (cluster and user):
                    raise KubeconfigError(f'context "{name}" does not exist')
            else:
                joined = found
        cluster_name = cluster or str(joined.get("cluster") or "")
        user_name = user or str(joined.get("user") or "")
        if not cluster_name:
            raise KubeconfigError("no current context is set; choose one with --context")
        tree = self.clusters.get(cluster_name)
        if tree is None:
            raise KubeconfigError(f'cluster "{cluster_name}" does not exist')
        identity = self.users.get(user_name, {}) if user_name else {}
        if user_name and user_name not in self.users:
            raise KubeconfigError(f'user "{user_name}" does not exist')
        server = str(tree.get("server") or "")
        if not server.startswith(("http://", "https://")):
            raise KubeconfigError(f'cluster "{cluster_name}" has no usable server address')
        if tree.get("proxy-url"):
            raise KubeconfigError(f'cluster "{cluster_name}": proxy-url is not supported')
        plugin = identity.get("exec")
        return Connection(
            server=server.rstrip("/"),
            namespace=namespace or str(joined.get("namespace") or "default"),
            context=name,
            ca_file=_path(tree.get("certificate-authority")),
            ca_data=_data(tree, "certificate-authority-data"),
            insecure=bool(tree.get("insecure-skip-tls-verify")),
            tls_server_name=str(tree.get("tls-server-name") or ""),
            cert_file=_path(identity.get("client-certificate")),
            key_file=_path(identity.get("client-key")),
            cert_data=_data(identity, "client-certificate-data"),
            key_data=_data(identity, "client-key-data"),
            token=str(identity.get("token") or ""),
            token_file=_path(identity.get("tokenFile")),
            username=str(identity.get("username") or ""),
            password=str(identity.get("password") or ""),
            exec_plugin=plugin if isinstance(plugin, dict) else None,
            impersonate_user=str(identity.get("as") or ""),
            impersonate_groups=tuple(identity.get("as-groups") or ()),
        )

    def to_tree(self) -> dict[str, Any]:
        """The file's content."""
        tree: dict[str, Any] = {"apiVersion": "v1", "kind": "Config", **self.rest}
        for section in _SECTIONS:
            key = _ITEM_KEY[section]
            tree[section] = [{"name": n, key: v} for n, v in self.section(section).items()]
        tree["current-context"] = self.current_context
        return tree


def _path(value: object) -> Path | None:
    return Path(str(value)) if value else None


def _data(tree: Mapping[str, Any], key: str) -> bytes:
    try:
        return base64.b64decode(tree.get(key) or b"", validate=False)
    except (binascii.Error, ValueError, TypeError) as error:
        raise KubeconfigError(f"{key} is not base64") from error


def parse(text: bytes | str, *, folder: Path | None = None, source: str = "") -> Kubeconfig:
    """Read one file's text; relative paths are resolved against ``folder``."""
    where = source or "kubeconfig"
    try:
        tree = yaml.load(text, Loader=_LOADER)  # noqa: S506  (a safe loader)
    except yaml.YAMLError as error:
        raise KubeconfigError(f"{where} is not valid YAML: {error}") from error
    if tree is None:
        return Kubeconfig()
    if not isinstance(tree, dict):
        raise KubeconfigError(f"{where} is not a kubeconfig")
    config = Kubeconfig(current_context=str(tree.get("current-context") or ""))
    for section in _SECTIONS:
        key = _ITEM_KEY[section]
        for item in tree.get(section) or ():
            if not isinstance(item, dict) or not item.get("name"):
                raise KubeconfigError(f"{where}: an entry of {section} has no name")
            body = dict(item.get(key) or {})
            if folder is not None:
                for path_key in _PATH_KEYS:
                    if body.get(path_key):
                        body[path_key] = str(folder / str(body[path_key]))
                _resolve_plugin(body, folder)
            config.section(section).setdefault(str(item["name"]), body)
    known = {"apiVersion", "kind", "current-context", *_SECTIONS}
    config.rest = {k: v for k, v in tree.items() if k not in known}
    return config


def _resolve_plugin(user: dict[str, Any], folder: Path) -> None:
    plugin = user.get("exec")
    if isinstance(plugin, dict):
        command = str(plugin.get("command") or "")
        if "/" in command and not command.startswith("/"):
            user["exec"] = {**plugin, "command": str(folder / command)}


def load_file(path: Path) -> Kubeconfig:
    """One file. Raises KubeconfigError, FileNotFoundError."""
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        raise
    except OSError as error:
        raise KubeconfigError(f"cannot read {path}: {error.strerror}") from error
    return parse(text, folder=path.parent.absolute(), source=str(path))


def merge(configs: list[Kubeconfig]) -> Kubeconfig:
    """Of several, the first that names an entry wins."""
    merged = Kubeconfig()
    for config in configs:
        for section in _SECTIONS:
            for name, body in config.section(section).items():
                merged.section(section).setdefault(name, body)
        merged.current_context = merged.current_context or config.current_context
        for key, value in config.rest.items():
            merged.rest.setdefault(key, value)
    return merged


def default_paths(environ: Mapping[str, str] = os.environ) -> list[Path]:
    """``$KUBECONFIG`` (a list), or ``~/.kube/config``."""
    listed = [Path(p) for p in environ.get("KUBECONFIG", "").split(os.pathsep) if p]
    return listed or [Path(environ.get("HOME", "/root")) / ".kube" / "config"]


def load(path: Path | None = None, environ: Mapping[str, str] = os.environ) -> Kubeconfig:
    """An explicit file (must exist), or the default ones (missing ones are skipped)."""
    if path is not None:
        try:
            return load_file(path)
        except FileNotFoundError:
            raise KubeconfigError(f"{path} does not exist") from None
    configs = []
    for candidate in default_paths(environ):
        try:
            configs.append(load_file(candidate))
        except FileNotFoundError:
            continue
    return merge(configs)


def load_connection(
    path: Path | None = None,
    *,
    context: str = "",
    cluster: str = "",
    user: str = "",
    namespace: str = "",
    environ: Mapping[str, str] = os.environ,
) -> Connection:
    """What a client uses when told nothing else: files first, then the pod's own account."""
    config = load(path, environ)
    if path is None and not config.contexts and not config.clusters and not context:
        inside = in_cluster(environ)
        if inside is not None:
            return inside
        raise KubeconfigError(
            "no kubeconfig found; is a cluster up? (set KUBECONFIG, or `kutter up`)"
        )
    return config.connection(context=context, cluster=cluster, user=user, namespace=namespace)


def in_cluster(
    environ: Mapping[str, str] = os.environ, folder: Path = SERVICE_ACCOUNT_FOLDER
) -> Connection | None:
    """A pod's connection to its API server, or None outside of one."""
    host, port = environ.get("KUBERNETES_SERVICE_HOST"), environ.get("KUBERNETES_SERVICE_PORT")
    token_file = folder / "token"
    if not host or not port or not token_file.exists():
        return None
    namespace_file = folder / "namespace"
    namespace = namespace_file.read_text().strip() if namespace_file.exists() else "default"
    ca_file = folder / "ca.crt"
    return Connection(
        server=f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}",
        namespace=namespace,
        ca_file=ca_file if ca_file.exists() else None,
        token_file=token_file,
    )


def save(config: Kubeconfig, path: Path) -> None:
    """Write the file, whole or not at all, readable by its owner only."""
    text = yaml.safe_dump(config.to_tree(), sort_keys=False, default_flow_style=False)
    write_atomic(path, text.encode(), mode=0o600)


def encode_data(pem: bytes) -> str:
    """PEM as the ``*-data`` fields want it."""
    return base64.b64encode(pem).decode()
