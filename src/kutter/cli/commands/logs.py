"""``kutter logs``: what containers print, and what the cluster's own components log."""

from __future__ import annotations

import argparse
import queue
import sys
import threading
from typing import Any

from kutter.api.errors import ApiError
from kutter.cli import moments, podtargets
from kutter.cli.command import Command, CommandError, Parser
from kutter.cli.connection import add_connection_flags, open_session
from kutter.cli.failures import Failures
from kutter.cli.session import Session

Tree = dict[str, Any]
_COMPONENTS = ("server", "agent")
_SELECTOR_TAIL = 10
_PENDING_LINES = 10000


def configure(parser: Parser) -> None:
    parser.add_argument("words", nargs="*", metavar="POD|TYPE/NAME", help="whose logs")
    parser.switch("-f", "--follow", help="go on printing what is logged")
    parser.switch("-p", "--previous", help="of the container that ended before this one")
    parser.switch("--timestamps", help="put the time in front of each line")
    parser.switch("--all-containers", help="of all containers of the pod")
    parser.switch("--all-pods", help="of all pods of a workload")
    parser.switch("--prefix", help="put pod and container in front of each line")
    parser.switch("--ignore-errors", help="go on when one of several cannot be read")
    parser.add_argument("-c", "--container", metavar="NAME", default="", help="of this container")
    parser.add_argument("-l", "--selector", metavar="LABELS", default="", help="of these pods")
    parser.add_argument("--since", metavar="TIME", default="", help="only of the last 5s, 2m, 3h")
    parser.add_argument("--since-time", metavar="DATE", default="", help="only after this date")
    parser.add_argument("--tail", metavar="N", type=int, default=-1, help="only the last N lines")
    parser.add_argument("--limit-bytes", metavar="N", type=int, default=0, help="at most N bytes")
    parser.add_argument("--max-log-requests", metavar="N", type=int, default=5,
                        help="follow at most so many containers at once")  # fmt: skip
    parser.add_argument("--pod-running-timeout", metavar="TIME", default="20s",
                        help="how long to wait for a pod to run")  # fmt: skip
    parser.add_argument("--of", metavar="COMPONENT", default="", choices=("", *_COMPONENTS),
                        help="the log of this machine's server or agent")  # fmt: skip
    add_connection_flags(parser)


def run(parsed: argparse.Namespace) -> int:
    if parsed.of:
        from kutter.cli.component_log import print_component_log

        return print_component_log(parsed.of, tail=parsed.tail, follow=parsed.follow)
    if parsed.since and parsed.since_time:
        raise CommandError("at most one of --since and --since-time may be given")
    session = open_session(parsed)
    pairs = _containers(session, parsed)
    query = _query(parsed)
    if parsed.follow and len(pairs) > 1:
        if len(pairs) > parsed.max_log_requests:
            raise CommandError(
                f"you are attempting to follow {len(pairs)} log streams, but maximum allowed"
                f" concurrency is {parsed.max_log_requests}",
                hint="use --max-log-requests to increase the limit",
            )
        return _follow_all(session, parsed, pairs, query)
    failures = Failures()
    for pod, container in pairs:
        try:
            _print_one(session, pod, container, query, prefix=parsed.prefix)
        except ApiError as error:
            if not parsed.ignore_errors and len(pairs) == 1:
                raise
            failures.add(error)
    return 0 if parsed.ignore_errors else failures.exit_code


def _containers(session: Session, parsed: argparse.Namespace) -> list[tuple[Tree, str]]:
    """Pods and containers whose logs are wanted."""
    words = parsed.words
    if parsed.selector:
        if words:
            raise CommandError("only a selector (-l) or a POD name is allowed")
        pods = session.list(session.kinds.find("pods"), session.namespace, selector=parsed.selector)
        if not pods:
            raise CommandError(f"No resources found in {session.namespace} namespace.")
        if parsed.tail < 0:
            parsed.tail = _SELECTOR_TAIL
    elif not words:
        raise CommandError("say whose logs: POD or TYPE/NAME", hint="'kutter logs --help'")
    else:
        name, parsed.container = _name_and_container(words, parsed.container)
        if parsed.all_pods:
            pods = podtargets.pods_of(session, name)
            parsed.prefix = True
        else:
            resource, _ = podtargets.target_of(session, name)
            if resource.plural == "pods":
                pods = [podtargets.pod_of(session, name)]
            else:
                found = podtargets.pods_of(session, name)
                if len(found) > 1:
                    print(f"Found {len(found)} pods, using pod/{found[0]['metadata']['name']}",
                          file=sys.stderr)  # fmt: skip
                wait_s = moments.duration(parsed.pod_running_timeout, "--pod-running-timeout")
                pods = [podtargets.pod_of(session, name, timeout_s=wait_s)]
    pairs = []
    for pod in pods:
        if parsed.all_containers:
            pairs += [(pod, name) for name in podtargets.container_names(pod)]
        else:
            pairs.append((pod, _one_container(pod, parsed.container)))
    return pairs


def _name_and_container(words: list[str], container: str) -> tuple[str, str]:
    """``POD``, ``POD CONTAINER``, ``TYPE/NAME``, ``TYPE NAME``."""
    if len(words) == 1:
        return words[0], container
    if len(words) == 2:
        return words[0], container or words[1]
    raise CommandError("expected POD or TYPE/NAME, and perhaps a container")


def _one_container(pod: Tree, wanted: str) -> str:
    chosen = podtargets.checked_container(pod, wanted)
    names = podtargets.container_names(pod)
    annotated = podtargets.DEFAULT_CONTAINER in (pod["metadata"].get("annotations") or {})
    if not wanted and len(names) > 1 and not annotated:
        listed = ", ".join(_with_kind(pod, name) for name in _ordered(pod))
        print(f'Defaulted container "{chosen}" out of: {listed}', file=sys.stderr)
    return chosen


def _ordered(pod: Tree) -> list[str]:
    plain = podtargets.container_names(pod, init=False)
    return plain + [n for n in podtargets.container_names(pod) if n not in plain]


def _with_kind(pod: Tree, name: str) -> str:
    spec = pod.get("spec") or {}
    if any(c["name"] == name for c in spec.get("initContainers") or ()):
        return f"{name} (init)"
    if any(c["name"] == name for c in spec.get("ephemeralContainers") or ()):
        return f"{name} (ephem)"
    return name


def _query(parsed: argparse.Namespace) -> list[tuple[str, str]]:
    query = []
    for flag in ("follow", "previous", "timestamps"):
        if getattr(parsed, flag):
            query.append((flag, "true"))
    if parsed.since:
        seconds = moments.duration(parsed.since, "--since")
        query.append(("sinceSeconds", str(max(1, int(seconds)))))
    if parsed.since_time:
        query.append(("sinceTime", parsed.since_time))
    if parsed.tail >= 0:
        query.append(("tailLines", str(parsed.tail)))
    if parsed.limit_bytes:
        query.append(("limitBytes", str(parsed.limit_bytes)))
    return query


def _prefix(pod: Tree, container: str) -> bytes:
    return f"[pod/{pod['metadata']['name']}/{container}] ".encode()


def _print_one(
    session: Session, pod: Tree, container: str, query: list[tuple[str, str]], *, prefix: bool
) -> None:
    path = podtargets.pod_path(pod, "log")
    out = sys.stdout.buffer
    with session.stream(path, query=[("container", container), *query], accept="*/*") as stream:
        if not prefix:
            for chunk in stream.chunks():
                out.write(chunk)
                out.flush()
            return
        mark = _prefix(pod, container)
        for line in stream.lines():
            out.write(mark + line + b"\n")
            out.flush()


def _follow_all(
    session: Session,
    parsed: argparse.Namespace,
    pairs: list[tuple[Tree, str]],
    query: list[tuple[str, str]],
) -> int:
    """Several at once: a thread reads each, this one writes whole lines."""
    lines: queue.Queue[bytes | Exception | None] = queue.Queue(_PENDING_LINES)

    def read(pod: Tree, container: str) -> None:
        mark = _prefix(pod, container) if parsed.prefix else b""
        path = podtargets.pod_path(pod, "log")
        sent = [("container", container), *query]
        try:
            with session.stream(path, query=sent, accept="*/*") as stream:
                for line in stream.lines():
                    lines.put(mark + line + b"\n")
        except (ApiError, OSError) as error:
            lines.put(error)
        lines.put(None)

    for pod, container in pairs:
        threading.Thread(target=read, args=(pod, container), daemon=True).start()
    open_count = len(pairs)
    failures = Failures()
    out = sys.stdout.buffer
    while open_count:
        line = lines.get()
        if line is None:
            open_count -= 1
        elif isinstance(line, ApiError):
            failures.add(line)
        elif isinstance(line, Exception):
            failures.add(CommandError(str(line)))
        else:
            out.write(line)
            out.flush()
    return 0 if parsed.ignore_errors else failures.exit_code


COMMAND = Command(
    name="logs",
    summary="Print what containers log",
    configure=configure,
    run=run,
    examples=(
        "kutter logs web-1",
        "kutter logs -f deployment/web --since=5m",
        "kutter logs web-1 -c sidecar --previous --tail=20",
        "kutter logs -l app=web --all-containers --prefix",
        "sudo kutter logs --of server -f",
    ),
)
