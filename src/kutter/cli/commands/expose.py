"""``kutter expose``: a service in front of a workload."""

from __future__ import annotations

import argparse
from typing import Any

from kutter.cli.changing import Change, add_change_flags
from kutter.cli.command import Command, CommandError, Parser
from kutter.cli.connection import add_connection_flags, open_session
from kutter.cli.failures import Failures
from kutter.cli.fetch import Found, add_selection_flags, selected
from kutter.cli.generators import workloads
from kutter.cli.generators.pairs import parse_pairs

Tree = dict[str, Any]
_KINDS = ("pods", "services", "replicationcontrollers", "deployments", "replicasets")


def configure(parser: Parser) -> None:
    add_selection_flags(parser)
    for name, metavar, text in (
        ("port", "N", "the service's port (default: the container's)"),
        ("target-port", "N", "the pods' port, a number or a name"),
        ("protocol", "TCP", "TCP, UDP or SCTP"),
        ("type", "KIND", "ClusterIP, NodePort, LoadBalancer or ExternalName"),
        ("name", "NAME", "the service's name (default: the workload's)"),
        ("selector-override", "LABELS", "selector of the service's pods"),
        ("external-ip", "IP", "a further address to answer at"),
        ("load-balancer-ip", "IP", "the balancer's address"),
        ("cluster-ip", "IP", "the cluster address; None for a headless service"),
        ("session-affinity", "KIND", "None or ClientIP"),
        ("labels", "LABELS", "labels of the service"),
    ):
        parser.add_argument(f"--{name}", metavar=metavar, default="", help=text)
    add_change_flags(parser, manager="kubectl-expose")
    parser.switch("--save-config", help="remember the object for a later apply")
    add_connection_flags(parser)


def run(parsed: argparse.Namespace) -> int:
    # As kubectl has it, -l is the service's selector here, not a choice among objects.
    parsed.selector_override = parsed.selector_override or parsed.selector
    parsed.selector = ""
    session, change, failures = open_session(parsed), Change(parsed), Failures()
    services = session.kinds.find("services")
    for found in selected(session, parsed, failures):
        tree = make_service(found, parsed)
        if not change.client_only:
            tree = session.create(services, tree, found.namespace, query=change.query)
        change.say(services, tree, "exposed")
    return failures.exit_code


def make_service(found: Found, parsed: argparse.Namespace) -> Tree:
    """The service. Raises CommandError when the workload says too little."""
    if found.resource.plural not in _KINDS:
        raise CommandError(f"cannot expose a {found.resource.kind}")
    selector = _selector(found, parsed)
    ports = _ports(found, parsed)
    if not ports and parsed.cluster_ip != "None":
        raise CommandError(
            "couldn't find port via --port flag or introspection", hint="give --port=N"
        )
    labels = found.tree["metadata"].get("labels") or {}
    if parsed.labels:
        labels = parse_pairs([parsed.labels], "--labels")
    tree = workloads.service(
        parsed.name or found.name,
        kind=parsed.type,
        ports=ports,
        selector=selector,
        labels=labels,
        clusterIP=parsed.cluster_ip,
        externalIPs=[parsed.external_ip] if parsed.external_ip else None,
        loadBalancerIP=parsed.load_balancer_ip,
        sessionAffinity=parsed.session_affinity,
    )
    tree["metadata"]["namespace"] = found.namespace
    return tree


def _selector(found: Found, parsed: argparse.Namespace) -> dict[str, str]:
    if parsed.selector_override:
        return parse_pairs([parsed.selector_override], "--selector")
    spec = found.tree.get("spec") or {}
    if found.resource.plural == "pods":
        labels: dict[str, str] = found.tree["metadata"].get("labels") or {}
        if not labels:
            raise CommandError(
                "couldn't retrieve selectors via --selector flag or introspection: the pod has no"
                " labels and cannot be exposed"
            )
        return labels
    selector = spec.get("selector") or {}
    if found.resource.plural in ("services", "replicationcontrollers"):
        return dict(selector)
    if selector.get("matchExpressions"):
        raise CommandError("couldn't convert expressions to a service's selector",
                           hint="give --selector")  # fmt: skip
    return dict(selector.get("matchLabels") or {})


def _ports(found: Found, parsed: argparse.Namespace) -> list[Tree]:
    protocol = parsed.protocol or "TCP"
    if parsed.port:
        numbers = parsed.port.split(",")
    else:
        numbers = [str(number) for number, _ in _declared(found)]
    named = len(numbers) > 1
    ports = []
    for index, text in enumerate(numbers, 1):
        port: Tree = {"port": workloads.port_number(text), "protocol": protocol}
        port["targetPort"] = workloads.int_or_text(parsed.target_port or text)
        if named:
            port["name"] = f"port-{index}"
        ports.append(port)
    return ports


def _declared(found: Found) -> list[tuple[int, str]]:
    """Ports of the workload's containers, or of the service."""
    spec = found.tree.get("spec") or {}
    if found.resource.plural == "services":
        return [(p["port"], p.get("protocol", "TCP")) for p in spec.get("ports") or ()]
    pod_spec = spec if found.resource.plural == "pods" else spec["template"]["spec"]
    return [
        (port["containerPort"], port.get("protocol", "TCP"))
        for container in pod_spec.get("containers") or ()
        for port in container.get("ports") or ()
    ]


COMMAND = Command(
    name="expose",
    summary="Put a service in front of a workload",
    configure=configure,
    run=run,
    examples=(
        "kutter expose deployment web --port=80 --target-port=8080",
        "kutter expose pod web-1 --name=web --type=NodePort --port=80",
    ),
)
