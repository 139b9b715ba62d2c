"""Requests for certificates: who asks is the server's knowledge, what was decided stays decided."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import ClassVar

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm

from kutter.api.errors import (
    FieldError,
    duplicate,
    forbidden_field,
    invalid,
    not_supported,
    required,
    too_long,
)
from kutter.api.quoting import quote
from kutter.apiserver.kinds.standard import Standard, spec_of
from kutter.apiserver.kinds.strategy import StrategyContext
from kutter.apiserver.ports import Tree
from kutter.apiserver.validation import text
from kutter.base.clock import render_time

Errors = list[FieldError]

_CSR_OWN = ("username", "uid", "groups", "extra")


class CertificateSigningRequestKind(Standard):
    name_check: ClassVar[text.Check] = staticmethod(text.path_segment)
    rechecks_metadata: ClassVar[bool] = True
    field_labels: ClassVar[frozenset[str]] = frozenset({"spec.signerName"})

    def prepare_for_create(self, context: StrategyContext, tree: Tree) -> None:
        """Who asks is what the server knows, not what the request says."""
        spec = spec_of(tree)
        for field in _CSR_OWN:
            spec.pop(field, None)
        user = context.user
        spec["username"] = user.name
        if user.uid:
            spec["uid"] = user.uid
        if user.groups:
            spec["groups"] = list(user.groups)
        if user.extra:
            spec["extra"] = {k: list(v) for k, v in user.extra.items()}
        tree["status"] = {}

    def prepare_for_update(self, context: StrategyContext, new: Tree, old: Tree) -> None:
        super().prepare_for_update(context, new, old)
        new["spec"] = old.get("spec")

    def prepare_for_status_update(self, context: StrategyContext, new: Tree, old: Tree) -> None:
        super().prepare_for_status_update(context, new, old)
        _keep_decisions(new, old)
        _stamp_conditions(new, old, render_time(context.now))

    def prepare_for_part_update(
        self, context: StrategyContext, part: str, new: Tree, old: Tree
    ) -> None:
        _stamp_conditions(new, old, render_time(context.now))

    def check_status(self, new: Tree, old: Tree) -> list[FieldError]:
        errors = _check_conditions(_conditions(new)) + _check_certificate(new)
        return errors + _check_kept(new, old) + _check_undecided(new, old) + _check_reset(new, old)

    def validate_part_update(
        self, context: StrategyContext, part: str, new: Tree, old: Tree
    ) -> list[FieldError]:
        errors = self.check_metadata_change(new, old) + _check_conditions(_conditions(new))
        return errors + _check_kept(new, old)

    def check(self, tree: Tree) -> list[FieldError]:
        errors: Errors = []
        spec = tree.get("spec") or {}
        problem = _problem_of(spec.get("request") or "")
        if problem:
            errors.append(invalid("spec.request", spec.get("request"), problem))
        usages = spec.get("usages") or []
        if not usages:
            errors.append(required("spec.usages"))
        for i, usage in enumerate(usages):
            if usage not in _USAGES:
                errors.append(not_supported(f"spec.usages[{i}]", usage, sorted(_USAGES)))
            elif usage in usages[:i]:
                errors.append(duplicate(f"spec.usages[{i}]", usage))
        signer = spec.get("signerName") or ""
        if not signer:
            errors.append(required("spec.signerName"))
        elif signer == "kubernetes.io/legacy-unknown":
            detail = "the legacy signerName is not allowed via this API version"
            errors.append(invalid("spec.signerName", signer, detail))
        else:
            errors += check_signer(signer, "spec.signerName")
        seconds = spec.get("expirationSeconds")
        if seconds is not None and seconds < 600:
            detail = "may not specify a duration less than 600 seconds (10 minutes)"
            errors.append(invalid("spec.expirationSeconds", seconds, detail))
        return errors

    def selectable_fields(self, tree: Tree) -> Mapping[str, str]:
        return {"spec.signerName": (tree.get("spec") or {}).get("signerName") or ""}


def check_signer(signer: str, path: str) -> list[FieldError]:
    """What is wrong with a domain and a path in it."""
    domain, slash, rest = signer.partition("/")
    if not slash or "/" in rest:
        detail = "must be a fully qualified domain and path of the form 'example.com/signer-name'"
        return [invalid(path, signer, detail)]
    errors: Errors = []
    if len(domain) > _DOMAIN_MAX:
        errors.append(too_long(path, _DOMAIN_MAX))
    labels = domain.split(".")
    errors += _check_first_bad(domain, labels, text.dns_label, path)
    if len(labels) < 2:
        detail = "should be a domain with at least two segments separated by dots"
        errors.append(invalid(path, domain, detail))
    errors += _check_first_bad(rest, rest.split("."), text.dns_subdomain, path)
    if len(signer) > _SIGNER_MAX:
        errors.append(too_long(path, _SIGNER_MAX))
    return errors


def _check_first_bad(whole: str, labels: list[str], check: text.Check, path: str) -> Errors:
    for label in labels:
        problems = check(label)
        if problems:
            head = f"validating label {quote(label)}: "
            return [invalid(path, whole, head + problem) for problem in problems]
    return []


def _problem_of(encoded: str) -> str:
    """Why the request is none, or not made by the key it names; empty: it is fine."""
    try:
        pem = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        pem = b""
    if b"-----BEGIN CERTIFICATE REQUEST-----" not in pem:
        return "PEM block type must be CERTIFICATE REQUEST"
    try:
        request = x509.load_pem_x509_csr(pem)
        good = request.is_signature_valid
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        return f"x509: malformed certificate request: {error}"
    return "" if good else "x509: certificate request signature is not valid"


def _conditions(tree: Tree) -> list[Tree]:
    return (tree.get("status") or {}).get("conditions") or []


def _stamp_conditions(new: Tree, old: Tree, now: str) -> None:
    """Give the times that a client left out; a status that stays keeps its time."""
    known = {c.get("type"): c for c in _conditions(old)}
    for condition in _conditions(new):
        if not condition.get("lastUpdateTime"):
            condition["lastUpdateTime"] = now
        if not condition.get("lastTransitionTime"):
            before = known.get(condition.get("type")) or {}
            same = before.get("status") == condition.get("status")
            condition["lastTransitionTime"] = (same and before.get("lastTransitionTime")) or now


_DECISIONS = frozenset({"Approved", "Denied"})
_STATES = ["False", "True", "Unknown"]
_DOMAIN_MAX = 253
_SIGNER_MAX = _DOMAIN_MAX + 1 + (253 + 1 + 63)


def _check_conditions(conditions: list[Tree]) -> list[FieldError]:
    errors: Errors = []
    path = "status.conditions"
    types = [c.get("type") or "" for c in conditions]
    for i, condition in enumerate(conditions):
        status = condition.get("status") or ""
        if not types[i]:
            errors.append(required(f"{path}[{i}].type"))
        if not status:
            errors.append(required(f"{path}[{i}].status"))
        elif types[i] in ("Approved", "Denied", "Failed") and status != "True":
            errors.append(not_supported(f"{path}[{i}].status", status, ["True"]))
        elif status not in _STATES:
            errors.append(not_supported(f"{path}[{i}].status", status, _STATES))
        if {types[i]} | set(types[:i]) >= _DECISIONS and types[i] in _DECISIONS:
            detail = "Approved and Denied conditions are mutually exclusive"
            errors.append(invalid(path, types[i], detail))
        if types[i] in types[:i]:
            errors.append(duplicate(f"{path}[{i}].type", types[i]))
    return errors


_FINAL = ("Approved", "Denied", "Failed")


def _of_type(tree: Tree, kind: str) -> list[Tree]:
    return [c for c in _conditions(tree) if c.get("type") == kind]


def _check_kept(new: Tree, old: Tree) -> list[FieldError]:
    """What was decided is never taken back."""
    return [
        forbidden_field(
            "status.conditions", f"updates may not remove a condition of type {quote(kind)}"
        )
        for kind in _FINAL
        if len(_of_type(new, kind)) < len(_of_type(old, kind))
    ]


def _keep_decisions(new: Tree, old: Tree) -> None:
    """Decisions that are there before and after stay as they were."""
    for kind in _DECISIONS:
        after, before = _of_type(new, kind), _of_type(old, kind)
        if len(after) == len(before):
            kept = iter(before)
            conditions = _conditions(new)
            conditions[:] = [next(kept) if c.get("type") == kind else c for c in conditions]


def _check_undecided(new: Tree, old: Tree) -> list[FieldError]:
    """Decisions are made through ``approval`` only."""
    errors: Errors = []
    for kind in ("Approved", "Denied"):
        after, before = _of_type(new, kind), _of_type(old, kind)
        if len(after) > len(before):
            detail = f"updates may not add a condition of type {quote(kind)}"
        elif len(after) == len(before) and after != before:
            detail = f"updates may not modify a condition of type {quote(kind)}"
        else:
            continue
        errors.append(forbidden_field("status.conditions", detail))
    return errors


def _certificate(tree: Tree) -> str:
    return (tree.get("status") or {}).get("certificate") or ""


def _check_reset(new: Tree, old: Tree) -> list[FieldError]:
    if _certificate(old) and _certificate(new) != _certificate(old):
        detail = "updates may not modify existing certificate content"
        return [forbidden_field("status.certificate", detail)]
    return []


def _check_certificate(tree: Tree) -> list[FieldError]:
    """Certificates in PEM and nothing else."""
    encoded = _certificate(tree)
    if not encoded:
        return []
    path = "status.certificate"
    try:
        pem = base64.b64decode(encoded)
    except (ValueError, binascii.Error):
        pem = b""
    kinds = {line for line in pem.decode("latin-1").splitlines() if line.startswith("-----BEGIN ")}
    for kind in sorted(kinds - {"-----BEGIN CERTIFICATE-----"}):
        name = kind.removeprefix("-----BEGIN ").rstrip("-")
        detail = f"only CERTIFICATE PEM blocks are allowed, found {quote(name)}"
        return [invalid(path, "<certificate data>", detail)]
    try:
        x509.load_pem_x509_certificates(pem)
    except ValueError:
        detail = "must contain at least one CERTIFICATE PEM block"
        return [invalid(path, "<certificate data>", detail)]
    return []


_USAGES = frozenset(
    {
        "signing",
        "digital signature",
        "content commitment",
        "key encipherment",
        "key agreement",
        "data encipherment",
        "cert sign",
        "crl sign",
        "encipher only",
        "decipher only",
        "any",
        "server auth",
        "client auth",
        "code signing",
        "email protection",
        "s/mime",
        "ipsec end system",
        "ipsec tunnel",
        "ipsec user",
        "timestamping",
        "ocsp signing",
        "microsoft sgc",
        "netscape sgc",
    }
)
