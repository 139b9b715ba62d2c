"""``serviceaccounts/token``: a bound token for whoever may ask.

https://kubernetes.io/docs/reference/kubernetes-api/authentication-resources/token-request-v1/
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from kutter.api.errors import bad_request, conflict, invalid, invalid_object, not_found
from kutter.api.quoting import quote
from kutter.apiserver.authn.service_accounts import (
    DEFAULT_LIFETIME_S,
    EXTENDED_LIFETIME_S,
    WARN_AFTER_S,
    Binding,
    TokenIssuer,
)
from kutter.apiserver.ports import Reader, Tree
from kutter.base.clock import render_time

GROUP = "authentication.k8s.io"
_LIFETIME_MIN_S = 10 * 60
_LIFETIME_MAX_S = 1 << 32


class TokenRequests:
    """Answers TokenRequests. ``default_audiences`` are the API server's.

    ``extend``: tokens of :data:`WARN_AFTER_S` for the API server live a year, as upstream's do, so
    that clients which never reload their token keep working; they carry ``warnafter``.
    """

    def __init__(
        self, issuer: TokenIssuer, *, default_audiences: Sequence[str], extend: bool = True
    ) -> None:
        self._issuer = issuer
        self._default_audiences = list(default_audiences)
        self._extend = extend

    def complete(self, tree: Tree, namespace: str, name: str) -> None:
        """Check the request and fill in its defaults. Raises 400 and 422."""
        metadata = tree.get("metadata") or {}
        given = metadata.get("name")
        if given and given != name:
            detail = "must match the service account name if specified"
            errors = [invalid("metadata.name", given, detail)]
            raise invalid_object("TokenRequest", name, errors, GROUP)
        if metadata.get("namespace") and metadata["namespace"] != namespace:
            raise bad_request(
                "the namespace of the provided object does not match the namespace sent on the "
                "request"
            )
        tree["metadata"] = {**metadata, "name": name, "namespace": namespace}
        spec: Tree = dict(tree.get("spec") or {})
        tree["spec"] = spec
        if spec.get("expirationSeconds") is None:
            spec["expirationSeconds"] = DEFAULT_LIFETIME_S
        seconds = spec["expirationSeconds"]
        path = "spec.expirationSeconds"
        if seconds < _LIFETIME_MIN_S:
            text = "may not specify a duration less than 10 minutes"
            raise invalid_object("TokenRequest", "", [invalid(path, seconds, text)], GROUP)
        if seconds > _LIFETIME_MAX_S:
            text = "may not specify a duration larger than 2^32 seconds"
            raise invalid_object("TokenRequest", "", [invalid(path, seconds, text)], GROUP)
        if not spec.get("audiences"):
            spec["audiences"] = list(self._default_audiences)

    def issue(self, tree: Tree, reader: Reader, now: datetime) -> Tree:
        """``tree`` with its token. Raises 400, 404 and 409."""
        metadata, spec = tree["metadata"], tree["spec"]
        namespace, name = metadata["namespace"], metadata["name"]
        account = reader.get("serviceaccounts", namespace, name)
        if account is None:
            raise not_found("serviceaccounts", name)
        binding = self._binding(spec.get("boundObjectRef"), account, reader)
        seconds = spec["expirationSeconds"]
        lifetime, warn_after = seconds, 0
        if (
            self._extend
            and seconds == WARN_AFTER_S
            and binding is not None
            and binding.resource == "pods"
            and spec["audiences"] == self._default_audiences
        ):
            lifetime, warn_after = EXTENDED_LIFETIME_S, WARN_AFTER_S
        token = self._issuer.issue(
            account,
            audiences=spec["audiences"],
            lifetime_s=lifetime,
            binding=binding,
            warn_after_s=warn_after,
        )
        metadata["creationTimestamp"] = render_time(now)
        expires = render_time(now + timedelta(seconds=seconds))
        tree["status"] = {"token": token, "expirationTimestamp": expires}
        return tree

    def _binding(self, reference: Tree | None, account: Tree, reader: Reader) -> Binding | None:
        if reference is None:
            return None
        kind, version = reference.get("kind", ""), reference.get("apiVersion", "")
        name = str(reference.get("name", ""))
        namespace = account["metadata"]["namespace"]
        resource = {"Pod": "pods", "Secret": "secrets", "Node": "nodes"}.get(kind)
        group, _, short = version.rpartition("/")
        if group or resource is None:
            raise bad_request(f"cannot bind token to object of type {group}/{short}, Kind={kind}")
        found = reader.get(resource, "" if kind == "Node" else namespace, name)
        if found is None:
            raise not_found(resource, name)
        uid = found["metadata"]["uid"]
        given = reference.get("uid")
        if given and given != uid:
            raise conflict(
                kind,
                name,
                f"the UID in the bound object reference ({given}) does not match the UID in "
                "record. The object might have been deleted and then recreated",
            )
        if kind != "Pod":
            return Binding(resource, name, uid)
        spec = found.get("spec") or {}
        if spec.get("serviceAccountName") != account["metadata"]["name"]:
            raise bad_request(
                f"cannot bind token for serviceaccount {quote(account['metadata']['name'])} to "
                "pod running with different serviceaccount name."
            )
        node_name = str(spec.get("nodeName") or "")
        node = reader.get("nodes", "", node_name) if node_name else None
        node_uid = str(node["metadata"].get("uid", "")) if node else ""
        return Binding(resource, name, uid, node_name, node_uid)
