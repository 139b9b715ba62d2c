"""``kutter drain``: empty a node before work on it."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from kutter.api.errors import ApiError
from kutter.cli import moments
from kutter.cli.changing import Change, add_change_flags
from kutter.cli.command import Command, CommandError, Parser
from kutter.cli.connection import add_connection_flags, open_session
from kutter.cli.cordoning import nodes_of, set_unschedulable
from kutter.cli.failures import Failures
from kutter.cli.podtargets import pod_path
from kutter.cli.removal import Removal, wait_until_gone
from kutter.cli.session import Session

Tree = dict[str, Any]
_MIRROR = "kubernetes.io/config.mirror"
_RETRY_S = 5.0


def configure(parser: Parser) -> None:
    parser.add_argument("words", nargs="*", metavar="NODE", help="which nodes")
    parser.add_argument("-l", "--selector", metavar="LABELS", default="", help="nodes of these")
    parser.add_argument("--pod-selector", metavar="LABELS", default="", help="only these pods")
    parser.switch("--ignore-daemonsets", help="leave pods of daemon sets where they are")
    parser.switch("--delete-emptydir-data", help="also pods whose emptyDir is lost")
    parser.switch("--force", help="also pods that nobody will make anew")
    parser.switch("--disable-eviction", help="delete instead of evict: ignores budgets")
    parser.add_argument("--grace-period", metavar="SECONDS", type=int, default=-1, help="to end in")
    parser.add_argument("--timeout", metavar="TIME", default="0s", help="give up after this long")
    add_change_flags(parser, manager="kubectl-drain")
    add_connection_flags(parser, namespace=False)


def run(parsed: argparse.Namespace) -> int:
    session, change, failures = open_session(parsed), Change(parsed), Failures()
    limit_s = moments.duration(parsed.timeout, "--timeout") or 7 * 86400.0
    deadline = moments.monotonic() + limit_s
    for found in nodes_of(session, parsed, failures):
        set_unschedulable(session, change, found, unschedulable=True)
        pods = session.list(
            session.kinds.find("pods"),
            selector=parsed.pod_selector,
            fields=f"spec.nodeName={found.name}",
        )
        leaving, staying, obstacles = plan_drain(pods, parsed)
        if obstacles:
            failures.add(
                CommandError(
                    f'unable to drain node "{found.name}": cannot delete {"; ".join(obstacles)}'
                )
            )
            continue
        if staying:
            listed = ", ".join(sorted(staying))
            print(f"Warning: ignoring DaemonSet-managed Pods: {listed}", file=sys.stderr)
        _drain(session, change, leaving, parsed, deadline)
        change.say(found.resource, found.tree, "drained")
    return failures.exit_code


def plan_drain(
    pods: list[Tree], options: argparse.Namespace
) -> tuple[list[Tree], list[str], list[str]]:
    """Pods to evict, daemon sets' pods that stay, and what stands in the way. Pure."""
    leaving: list[Tree] = []
    staying: list[str] = []
    reasons: dict[str, list[str]] = {}
    for pod in pods:
        metadata = pod["metadata"]
        name = f"{metadata['namespace']}/{metadata['name']}"
        if _MIRROR in (metadata.get("annotations") or {}):
            continue
        finished = (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")
        owner: Tree = next(
            (o for o in metadata.get("ownerReferences") or () if o.get("controller")), {}
        )
        if owner.get("kind") == "DaemonSet" and not finished:
            if options.ignore_daemonsets:
                staying.append(name)
            else:
                reasons.setdefault("DaemonSet-managed Pods (use --ignore-daemonsets to ignore)",
                                   []).append(name)  # fmt: skip
            continue
        if not owner and not finished and not options.force:
            reasons.setdefault("Pods that declare no controller (use --force to override)",
                               []).append(name)  # fmt: skip
            continue
        has_data = any("emptyDir" in v for v in (pod.get("spec") or {}).get("volumes") or ())
        if has_data and not finished and not options.delete_emptydir_data:
            reasons.setdefault("Pods with local storage (use --delete-emptydir-data to override)",
                               []).append(name)  # fmt: skip
            continue
        leaving.append(pod)
    return leaving, staying, [f"{why}: {', '.join(names)}" for why, names in reasons.items()]


def _drain(
    session: Session,
    change: Change,
    pods: list[Tree],
    parsed: argparse.Namespace,
    deadline: float,
) -> None:
    resource = session.kinds.find("pods")
    removals = []
    for pod in pods:
        metadata = pod["metadata"]
        print(f"evicting pod {metadata['namespace']}/{metadata['name']}")
        if change.client_only:
            continue
        options = {} if parsed.grace_period < 0 else {"gracePeriodSeconds": parsed.grace_period}
        if parsed.disable_eviction:
            session.delete(resource, metadata["name"], metadata["namespace"], options=options)
        else:
            _evict(session, pod, options, deadline)
        removals.append(Removal(resource, metadata["namespace"], metadata["name"], metadata["uid"]))
    if change.dry_run == "none":
        left_s = max(0.001, deadline - moments.monotonic())
        wait_until_gone(session, removals, left_s)
        for removal in removals:
            print(f"pod/{removal.name} evicted")


def _evict(session: Session, pod: Tree, options: Tree, deadline: float) -> None:
    """Ask until the pod's disruption budget allows it."""
    metadata = pod["metadata"]
    body = {
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": {"name": metadata["name"], "namespace": metadata["namespace"]},
        "deleteOptions": options,
    }
    while True:
        try:
            session.call("POST", pod_path(pod, "eviction"), body=body)
        except ApiError as error:
            if error.code == 404:
                return
            if error.code != 429 or moments.monotonic() + _RETRY_S >= deadline:
                raise
            print(
                f'error when evicting pods/"{metadata["name"]}" -n "{metadata["namespace"]}"'
                f" (will retry after {_RETRY_S:.0f}s): {error.message}",
                file=sys.stderr,
            )
            moments.pause(_RETRY_S)
        else:
            return


COMMAND = Command(
    name="drain",
    summary="Empty a node before work on it",
    configure=configure,
    run=run,
    examples=("kutter drain worker-1 --ignore-daemonsets --delete-emptydir-data",),
)
