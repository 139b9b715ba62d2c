"""Where a webhook is: the ``clientConfig`` of configurations and definitions, read once.

Between the API's trees and :class:`kutter.apiserver.webhooks.caller.WebhookCaller`.
"""

from __future__ import annotations

import base64
import binascii
from urllib.parse import urlsplit

import msgspec

from kutter.api.errors import FieldError, invalid, required
from kutter.apiserver.ports import Tree
from kutter.apiserver.validation import text
from kutter.http.tls import client_context

DEFAULT_PORT = 443
_FORM = "; desired format: https://host[/path]"


class ClientConfig(msgspec.Struct, frozen=True):
    """One webhook's place and whom to trust there. Hashable: clients are kept by it.

    Either ``url``, or ``namespace``, ``name``, ``port`` and ``path`` of a service. Without
    ``ca_pem`` the system's authorities are trusted. ``cert_pem`` and ``key_pem`` are our
    certificate (a kubeconfig's), ``token`` our bearer token.
    """

    url: str = ""
    namespace: str = ""
    name: str = ""
    port: int = DEFAULT_PORT
    path: str = ""
    ca_pem: bytes = b""
    cert_pem: bytes = b""
    key_pem: bytes = b""
    token: str = ""

    @property
    def server_name(self) -> str:
        """The name in a service's certificate."""
        return f"{self.name}.{self.namespace}.svc"

    @property
    def shown_url(self) -> str:
        """What errors and Host headers name, whatever address it comes to."""
        if self.url:
            return self.url
        slash = "" if self.path.startswith("/") else "/"
        return f"https://{self.server_name}:{self.port}{slash}{self.path}"


def read_client_config(tree: Tree) -> ClientConfig:
    """A validated ``clientConfig`` (``url`` or ``service``, ``caBundle`` in base64)."""
    ca_pem = base64.b64decode(tree.get("caBundle") or "")
    service = tree.get("service")
    if service is None:
        return ClientConfig(url=tree.get("url") or "", ca_pem=ca_pem)
    return ClientConfig(
        namespace=service.get("namespace") or "",
        name=service.get("name") or "",
        port=service.get("port") or DEFAULT_PORT,
        path=service.get("path") or "",
        ca_pem=ca_pem,
    )


def validate_client_config(tree: Tree, path: str, *, check_bundle: bool = True) -> list[FieldError]:
    """What is wrong with the ``clientConfig`` at ``path``; the port is defaulted before.

    Admission webhooks may carry a bundle nobody can read (as upstream): calling them fails.
    """
    url, service = tree.get("url"), tree.get("service")
    if (url is None) == (service is None):
        return [required(path, "exactly one of url or service is required")]
    if url is not None:
        errors = _check_url(url, f"{path}.url")
    else:
        assert service is not None
        errors = _check_service(service, f"{path}.service")
    if not check_bundle:
        return errors
    return errors + find_bundle_errors(tree.get("caBundle") or "", f"{path}.caBundle")


def _check_url(url: str, path: str) -> list[FieldError]:
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError as error:
        detail = f'url must be a valid URL: parse "{url}": {error}{_FORM}'
        return [required(path, detail)]
    errors = []
    if parts.scheme != "https":
        detail = f"'https' is the only allowed URL scheme{_FORM}"
        errors.append(invalid(path, parts.scheme, detail))
    if not parts.netloc:
        errors.append(invalid(path, parts.netloc, f"host must be specified{_FORM}"))
    if "@" in parts.netloc:
        user = parts.netloc.rpartition("@")[0]
        detail = "user information is not permitted in the URL"
        errors.append(invalid(path, user, detail))
    if parts.fragment:
        errors.append(invalid(path, parts.fragment, "fragments are not permitted in the URL"))
    if parts.query:
        detail = "query parameters are not permitted in the URL"
        errors.append(invalid(path, parts.query, detail))
    return errors


def _check_service(service: Tree, path: str) -> list[FieldError]:
    # Which of the two is missing upstream tells crosswise; so do we.
    errors = [
        required(f"{path}.{told}")
        for told, field in (("name", "namespace"), ("namespace", "name"))
        if not service.get(field)
    ]
    port = service.get("port", DEFAULT_PORT)
    if not 1 <= port <= 65535:
        detail = "port is not valid: must be between 1 and 65535, inclusive"
        errors.append(invalid(f"{path}.port", port, detail))
    place = service.get("path")
    return errors + (_check_path(place, f"{path}.path") if place else [])


def _check_path(place: str, path: str) -> list[FieldError]:
    if place == "/":
        return []
    if place == "//":
        return [invalid(path, place, "segment[0] may not be empty")]
    errors = []
    if not place.startswith("/"):
        errors.append(invalid(path, place, "must start with a '/'"))
    for i, step in enumerate(place[1:].removesuffix("/").split("/")):
        if not step:
            errors.append(invalid(path, place, f"segment[{i}] may not be empty"))
            continue
        errors += [invalid(path, place, f"segment[{i}]: {e}") for e in text.dns_subdomain(step)]
    return errors


def find_bundle_errors(encoded: str, path: str) -> list[FieldError]:
    if not encoded:
        return []
    try:
        client_context(ca_data=base64.b64decode(encoded, validate=True))
    except (binascii.Error, ValueError, OSError):
        # An ssl.SSLError is an OSError.
        detail = "unable to load root certificates: unable to parse bytes as PEM block"
        return [invalid(path, encoded, detail)]
    return []
