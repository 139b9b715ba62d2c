"""``kutter port-forward``: ports of this machine that lead into a pod."""

from __future__ import annotations

import argparse
import asyncio
import socket
from typing import Any

from kutter.cli import podtargets
from kutter.cli.command import Command, CommandError, Parser
from kutter.cli.connection import add_connection_flags, open_session

Tree = dict[str, Any]


def configure(parser: Parser) -> None:
    parser.add_argument(
        "words", nargs="*", metavar="POD|TYPE/NAME [LOCAL:]PORT", help="what, where"
    )
    parser.add_argument("--address", metavar="ADDRESSES", default="localhost",
                        help="addresses to listen at (comma separated)")  # fmt: skip
    parser.add_argument("--pod-running-timeout", metavar="TIME", default="1m0s",
                        help="how long to wait for a pod to run")  # fmt: skip
    add_connection_flags(parser)


async def run(parsed: argparse.Namespace) -> int:
    from kutter.cli.moments import duration

    if len(parsed.words) < 2:
        raise CommandError(
            "TYPE/NAME and list of ports are required for port-forward",
            hint="kutter port-forward service/web 8080:80",
        )
    session = open_session(parsed)
    word = parsed.words[0]
    resource, tree = podtargets.target_of(session, word)
    wait_s = duration(parsed.pod_running_timeout, "--pod-running-timeout")
    pod = podtargets.pod_of(session, word, timeout_s=wait_s)
    phase = (pod.get("status") or {}).get("phase")
    if phase != "Running":
        raise CommandError(
            f"unable to forward port because pod is not running. Current status={phase}"
        )
    service = tree if resource.plural == "services" else None
    pairs = [parse_ports(text, pod, service) for text in parsed.words[1:]]
    from kutter.cli.forwarding import Forwarding

    forwarding = Forwarding(session.connection, podtargets.pod_path(pod, "portforward"))
    return await forwarding.run(_addresses(parsed.address), pairs)


def _addresses(text: str) -> list[str]:
    """What to listen at; ``localhost`` is both loopback addresses."""
    found: list[str] = []
    for word in text.split(","):
        if word == "localhost":
            found += ["127.0.0.1", "::1"]
            continue
        try:
            socket.getaddrinfo(word, None, flags=socket.AI_NUMERICHOST)
        except OSError as error:
            raise CommandError(f"{word} is not a valid IP address or 'localhost'") from error
        found.append(word)
    return found


def parse_ports(text: str, pod: Tree, service: Tree | None) -> tuple[int, int]:
    """``80``, ``8080:80``, ``:80``, ``8080:http`` → local and pod port. Raises CommandError."""
    local, colon, remote = text.partition(":")
    if not colon:
        remote = local
    target = _service_port(service, remote) if service is not None else remote
    port = _container_port(pod, target)
    if not colon:
        # A service's own port is what people expect to find here.
        return (int(remote) if remote.isdigit() else port), port
    if local and not local.isdigit():
        raise CommandError(f"invalid local port {local!r} in {text!r}")
    return int(local or 0), port


def _service_port(service: Tree, wanted: str) -> str:
    for port in (service.get("spec") or {}).get("ports") or ():
        if str(port["port"]) == wanted or port.get("name") == wanted:
            if (service["spec"].get("clusterIP")) == "None":
                return str(port["port"])
            return str(port.get("targetPort") or port["port"])
    name = service["metadata"]["name"]
    raise CommandError(f"Service {name} does not have a service port {wanted}")


def _container_port(pod: Tree, wanted: str) -> int:
    if wanted.isdigit() and 0 < int(wanted) < 65536:
        return int(wanted)
    for container in pod["spec"].get("containers") or ():
        for port in container.get("ports") or ():
            if port.get("name") == wanted:
                return int(port["containerPort"])
    raise CommandError(f"Pod '{pod['metadata']['name']}' does not have a named port '{wanted}'")


__all__ = ["COMMAND", "asyncio", "parse_ports"]

COMMAND = Command(
    name="port-forward",
    summary="Let ports of this machine lead into a pod",
    configure=configure,
    run=run,
    examples=(
        "kutter port-forward pod/web-1 8080:80",
        "kutter port-forward service/web 8080:http 9090",
        "kutter port-forward --address 0.0.0.0 deployment/web :80",
    ),
)
