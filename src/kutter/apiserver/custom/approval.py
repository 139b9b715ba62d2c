"""Groups of the Kubernetes community: their definitions say who approved them. Pure.

A definition in ``k8s.io``, ``kubernetes.io`` or below carries an annotation with the address of
the review, or with the reason why there was none.
"""

from __future__ import annotations

from typing import Any, NamedTuple
from urllib.parse import urlsplit

from kutter.api.errors import FieldError, invalid, required
from kutter.api.quoting import quote

Tree = dict[str, Any]

ANNOTATION = "api-approved.kubernetes.io"
CONDITION = "KubernetesAPIApprovalPolicyConformant"
_SEE = "see https://github.com/kubernetes/enhancements/pull/1111"
_PROTECTED = ("k8s.io", "kubernetes.io")


class Approval(NamedTuple):
    """What the annotation comes to: a condition's status and reason, and the words for it."""

    status: str
    reason: str
    message: str


def approval_of(tree: Tree) -> Approval | None:
    """The approval of a definition; None where none is asked for."""
    group = str((tree.get("spec") or {}).get("group") or "")
    if not any(group == name or group.endswith(f".{name}") for name in _PROTECTED):
        return None
    text = str(((tree.get("metadata") or {}).get("annotations") or {}).get(ANNOTATION) or "")
    if not text:
        wanted = f'protected groups must have approval annotation "{ANNOTATION}", {_SEE}'
        return Approval("False", "MissingAnnotation", wanted)
    if text.startswith("unapproved"):
        return Approval("False", "UnapprovedAnnotation", f"not approved: {quote(text)}")
    if _is_address(text):
        return Approval("True", "ApprovedAnnotation", f"approved in {text}")
    wanted = (
        f'protected groups must have approval annotation "{ANNOTATION}" with either a URL or a '
        f'reason starting with "unapproved", {_SEE}'
    )
    return Approval("False", "InvalidAnnotation", wanted)


def _is_address(text: str) -> bool:
    try:
        parts = urlsplit(text)
    except ValueError:
        return False
    return bool(parts.scheme and parts.netloc)


def find_approval_errors(new: Tree, old: Tree | None) -> list[FieldError]:
    """What is wrong with a definition's approval; one that was wrong before may stay so."""
    now = approval_of(new)
    if now is None or now.reason in ("ApprovedAnnotation", "UnapprovedAnnotation"):
        return []
    before = approval_of(old) if old is not None else None
    if before is not None and before.reason == now.reason:
        return []
    path = f"metadata.annotations[{ANNOTATION}]"
    if now.reason == "MissingAnnotation":
        return [required(path, now.message)]
    return [invalid(path, new["metadata"]["annotations"][ANNOTATION], now.message)]
