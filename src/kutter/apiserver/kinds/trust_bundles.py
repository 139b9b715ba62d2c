"""Whom to trust: authorities in PEM, of a signer or of nobody in particular.

Who may speak for a signer is :mod:`kutter.apiserver.admission.certificates`' matter. Upstream:
kubernetes.io/docs/reference/access-authn-authz/certificate-signing-requests/#cluster-trust-bundles
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Mapping
from typing import ClassVar

from cryptography import x509

from kutter.api.errors import FieldError, invalid, too_long
from kutter.apiserver.kinds.certificates import check_signer
from kutter.apiserver.kinds.standard import Standard
from kutter.apiserver.kinds.strategy import StrategyContext
from kutter.apiserver.ports import Tree
from kutter.apiserver.validation import text
from kutter.apiserver.validation.metadata import immutable, validate_metadata

Errors = list[FieldError]

_PATH = "spec.trustBundle"
_MAX_BYTES = 1 << 20
_BEGIN, _END, _DASHES = "-----BEGIN ", "-----END ", "-----"


class ClusterTrustBundleKind(Standard):
    has_status: ClassVar[bool] = False
    allow_unconditional_update: ClassVar[bool] = False
    field_labels: ClassVar[frozenset[str]] = frozenset({"spec.signerName"})

    def check_metadata(
        self, tree: Tree, *, common: list[FieldError] | None = None
    ) -> list[FieldError]:
        signer = _signer(tree)
        return validate_metadata(
            tree.get("metadata") or {},
            namespaced=False,
            name_check=lambda n: _check_name(n, signer),
            common=common,
        )

    def check(self, tree: Tree) -> list[FieldError]:
        return self._check_signer(tree) + _check_bundle(_bundle(tree))

    def _check_signer(self, tree: Tree) -> list[FieldError]:
        signer = _signer(tree)
        return check_signer(signer, "spec.signerName") if signer else []

    def validate_update(self, context: StrategyContext, new: Tree, old: Tree) -> list[FieldError]:
        """A bundle that stays is not read again: what reads it may have become stricter."""
        errors = self.check_metadata(new) + self._check_signer(new)
        if _bundle(new) != _bundle(old):
            errors += _check_bundle(_bundle(new))
        errors += self.check_metadata_change(new, old)
        return errors + immutable(_signer(new), _signer(old), "spec.signerName")

    def selectable_fields(self, tree: Tree) -> Mapping[str, str]:
        return {"spec.signerName": _signer(tree)}


def _signer(tree: Tree) -> str:
    return (tree.get("spec") or {}).get("signerName") or ""


def _bundle(tree: Tree) -> str:
    return (tree.get("spec") or {}).get("trustBundle") or ""


def _check_name(name: str, signer: str) -> text.Problems:
    if not signer:
        if ":" in name:
            return ('ClusterTrustBundle without signer name must not have ":" in its name',)
        return text.dns_subdomain(name)
    prefix = signer.replace("/", ":") + ":"
    if not name.startswith(prefix):
        problem = f"ClusterTrustBundle for signerName {signer} must be named with prefix {prefix}"
        return (problem,)
    return text.dns_subdomain(name.removeprefix(prefix))


def _check_bundle(bundle: str) -> list[FieldError]:
    """Authorities, each once, and nothing else in PEM; what stands between is no matter."""
    if len(bundle.encode()) > _MAX_BYTES:
        return [too_long(_PATH, _MAX_BYTES)]
    problems: list[str] = []
    places: dict[bytes, list[int]] = {}
    number = 0
    for kind, lines in _blocks(bundle):
        headers, der = _decode(lines)
        if der is None:
            continue
        problem = _problem_of(kind, der, headers=headers)
        if problem:
            problems.append(f"entry {number} {problem}")
        else:
            places.setdefault(der, []).append(number)
        number += 1
    if not problems:
        if not places:
            problems.append("at least one trust anchor must be provided")
        for indices in places.values():
            if len(indices) > 1:
                shown = " ".join(map(str, indices))
                problems.append(f"duplicate trust anchor (indices [{shown}])")
    return [invalid(_PATH, "<value omitted>", problem) for problem in problems]


def _blocks(bundle: str) -> Iterator[tuple[str, list[str]]]:
    """Type and lines of each block, in one pass; one that is not ended as it began is none."""
    kind: str | None = None
    lines: list[str] = []
    for line in bundle.splitlines():
        bare = line.rstrip()
        if bare.startswith(_BEGIN) and bare.endswith(_DASHES):
            kind, lines = bare[len(_BEGIN) : -len(_DASHES)], []
        elif bare.startswith(_END):
            if kind is not None and bare == f"{_END}{kind}{_DASHES}":
                yield kind, lines
            kind = None
        elif kind is not None:
            lines.append(bare)


def _decode(lines: list[str]) -> tuple[bool, bytes | None]:
    """Whether there are headers, and the content; None for what is no block after all."""
    plain = [line for line in lines if ":" not in line]
    encoded = "".join("".join(plain).split())
    try:
        return len(plain) < len(lines), base64.b64decode(encoded, validate=True)
    except (ValueError, binascii.Error):
        return False, None


def _problem_of(kind: str, der: bytes, *, headers: bool) -> str:
    if kind != "CERTIFICATE":
        return f"has bad block type: {kind}"
    if headers:
        return "has PEM block headers"
    try:
        certificate = x509.load_der_x509_certificate(der)
        constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints)
    except x509.ExtensionNotFound:
        return "does not have the CA bit set"
    except (ValueError, x509.DuplicateExtension):
        return "does not parse as X.509"
    return "" if constraints.value.ca else "does not have the CA bit set"
