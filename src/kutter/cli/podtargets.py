"""From what a user names (``web-1``, ``deploy/web``, ``svc/web``, a selector) to pods."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kutter.cli.command import CommandError
from kutter.cli.moments import monotonic, until
from kutter.cli.references import one_reference

if TYPE_CHECKING:
    from kutter.api.resources import Resource
    from kutter.cli.session import Session

Tree = dict[str, Any]
DEFAULT_CONTAINER = "kubectl.kubernetes.io/default-container"


def pods_of(session: Session, word: str) -> list[Tree]:
    """The pods behind ``word``, the best to talk to first. Raises CommandError, ApiError."""
    resource, tree = target_of(session, word)
    if resource.plural == "pods":
        return [tree]
    selector = selector_of(resource, tree)
    if not selector:
        raise CommandError(f"{resource.plural}/{tree['metadata']['name']} selects no pods")
    pods = session.list(
        session.kinds.find("pods"), tree["metadata"]["namespace"], selector=selector
    )
    return sorted(pods, key=_rank)


def target_of(session: Session, word: str) -> tuple[Resource, Tree]:
    """The object ``word`` names; a bare name is a pod's."""
    reference = one_reference([word], session.kinds, default="pods")
    return reference.resource, session.get(reference.resource, reference.names[0])


def pod_of(session: Session, word: str, *, timeout_s: float = 0.0) -> Tree:
    """One pod behind ``word``; waits up to ``timeout_s`` for one to run. Raises CommandError."""
    found: list[Tree] = []
    for _ in until(monotonic() + timeout_s):
        found = pods_of(session, word)
        if found and (timeout_s == 0 or is_running(found[0])):
            return found[0]
    if found:
        return found[0]
    raise CommandError(f"there is no pod behind {word}", hint=f"'kutter why {word}' tells why")


def selector_of(resource: Resource, tree: Tree) -> str:
    """The label selector of a workload or service, as text; empty when it has none."""
    spec = tree.get("spec") or {}
    selector = spec.get("selector") or {}
    if resource.plural in ("services", "replicationcontrollers"):
        return ",".join(f"{k}={v}" for k, v in sorted(selector.items()))
    from kutter.api.selectors import from_tree

    return str(from_tree(selector)) if selector else ""


def _rank(pod: Tree) -> tuple[Any, ...]:
    """Running and ready ones first, then the older."""
    status = pod.get("status") or {}
    deleting = bool(pod["metadata"].get("deletionTimestamp"))
    return (
        deleting,
        not is_running(pod),
        not is_ready(pod),
        status.get("startTime") or "",
        pod["metadata"]["name"],
    )


def is_running(pod: Tree) -> bool:
    return bool((pod.get("status") or {}).get("phase") == "Running")


def is_ready(pod: Tree) -> bool:
    return any(
        c.get("type") == "Ready" and c.get("status") == "True"
        for c in (pod.get("status") or {}).get("conditions") or ()
    )


def container_names(pod: Tree, *, init: bool = True, ephemeral: bool = True) -> list[str]:
    """Names in the order kubectl shows logs in."""
    spec = pod.get("spec") or {}
    fields = (["initContainers"] if init else []) + ["containers"]
    fields += ["ephemeralContainers"] if ephemeral else []
    return [c["name"] for field in fields for c in spec.get(field) or ()]


def default_container(pod: Tree) -> str:
    """The annotated container, or the first. Raises CommandError for a pod without any."""
    names = container_names(pod, init=False, ephemeral=False)
    wanted = (pod["metadata"].get("annotations") or {}).get(DEFAULT_CONTAINER, "")
    if wanted in names:
        return str(wanted)
    if not names:
        raise CommandError(f"pod {pod['metadata']['name']} has no containers")
    return names[0]


def checked_container(pod: Tree, wanted: str) -> str:
    """``wanted`` if the pod has it, its default one if nothing is wanted. Raises CommandError."""
    if not wanted:
        return default_container(pod)
    names = container_names(pod)
    if wanted not in names:
        raise CommandError(
            f"container {wanted} not found in pod {pod['metadata']['name']}",
            hint=f"its containers are {', '.join(names)}",
        )
    return wanted


def pod_path(pod: Tree, subresource: str) -> str:
    metadata = pod["metadata"]
    return f"/api/v1/namespaces/{metadata['namespace']}/pods/{metadata['name']}/{subresource}"
