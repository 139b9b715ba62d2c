"""``kutter run``: one pod of an image."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from kutter.cli import moments, podtargets
from kutter.cli.changing import Change, add_change_flags
from kutter.cli.command import Command, CommandError, Parser
from kutter.cli.connection import add_connection_flags, open_session
from kutter.cli.generators import workloads
from kutter.cli.generators.pairs import parse_env, parse_pairs
from kutter.cli.making import send
from kutter.cli.session import Session

Tree = dict[str, Any]


def configure(parser: Parser) -> None:
    add_connection_flags(parser)
    parser.add_argument("name", metavar="NAME", help="the pod's name")
    parser.add_argument("words", nargs="*", help=argparse.SUPPRESS)
    parser.add_argument("--image", metavar="IMAGE", default="", help="its image")
    parser.add_argument("--image-pull-policy", metavar="P", default="", help="Always, IfNotPresent")
    parser.add_argument("--port", metavar="N", default="", help="the port it listens at")
    parser.add_argument("--env", metavar="NAME=VALUE", action="append", default=[], help="environ")
    parser.add_argument("-l", "--labels", metavar="LABELS", default="", help="labels of the pod")
    parser.add_argument("--annotations", metavar="K=V", action="append", default=[], help="notes")
    parser.add_argument("--restart", metavar="POLICY", default="Always",
                        help="Always, OnFailure or Never")  # fmt: skip
    parser.add_argument("--overrides", metavar="JSON", default="", help="merged into the pod")
    parser.switch("--command", help="what follows -- is the command, not its arguments")
    parser.switch("--expose", help="make a service for its port, too")
    parser.switch("-i", "--stdin", help="keep its input open and pass ours on")
    parser.switch("-t", "--tty", help="give it a terminal")
    parser.switch("--attach", help="join it when it runs")
    parser.switch("--rm", help="delete it when it ended")
    parser.switch("--privileged", help="let it do everything")
    parser.switch("-q", "--quiet", help="print only what it prints")
    parser.add_argument("--pod-running-timeout", metavar="TIME", default="1m0s",
                        help="how long to wait for it to run")  # fmt: skip
    add_change_flags(parser, manager="kubectl-run")


async def run(parsed: argparse.Namespace) -> int:
    if not parsed.image:
        raise CommandError("--image is required")
    attach = parsed.attach or parsed.stdin or parsed.tty
    if parsed.rm and not attach:
        raise CommandError("--rm should only be used for attached containers")
    if parsed.tty and not parsed.stdin:
        raise CommandError("--stdin is required for containers with -t/--tty=true")
    session, change = open_session(parsed), Change(parsed)
    tree = make_pod(parsed)
    quiet_change = attach and not change.output.form and change.dry_run == "none"
    if quiet_change:
        resource = session.kinds.find("pods")
        made = session.create(resource, tree, session.namespace, query=change.query)
    else:
        made = send(session, change, tree)
    if parsed.expose:
        _expose(session, change, parsed)
    if not attach or change.dry_run != "none":
        return 0
    try:
        return await _attach(session, made, parsed)
    finally:
        if parsed.rm:
            session.delete(session.kinds.find("pods"), parsed.name)
            if not parsed.quiet:
                print(f'pod "{parsed.name}" deleted')


def make_pod(parsed: argparse.Namespace) -> Tree:
    """The pod. Raises CommandError."""
    labels = parse_pairs([parsed.labels], "--labels") if parsed.labels else {"run": parsed.name}
    container: Tree = {"name": parsed.name, "image": parsed.image}
    words = parsed.rest or parsed.words
    if words:
        container["command" if parsed.command else "args"] = words
    if parsed.image_pull_policy:
        container["imagePullPolicy"] = parsed.image_pull_policy
    if parsed.port:
        container["ports"] = [{"containerPort": workloads.port_number(parsed.port)}]
    if parsed.env:
        container["env"] = parse_env(parsed.env)
    if parsed.privileged:
        container["securityContext"] = {"privileged": True}
    if parsed.stdin:
        container |= {"stdin": True, "stdinOnce": True}
    if parsed.tty:
        container["tty"] = True
    metadata: Tree = {"name": parsed.name, "labels": labels}
    if parsed.annotations:
        metadata["annotations"] = parse_pairs(parsed.annotations, "--annotations")
    if parsed.restart not in ("Always", "OnFailure", "Never"):
        raise CommandError(f"invalid restart policy: {parsed.restart}")
    spec = {"containers": [container], "restartPolicy": parsed.restart, "dnsPolicy": "ClusterFirst"}
    tree: Tree = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}
    if parsed.overrides:
        import orjson

        from kutter.api.patch import apply_merge_patch

        try:
            overrides = orjson.loads(parsed.overrides)
        except orjson.JSONDecodeError as error:
            raise CommandError(f"--overrides is not JSON: {error}") from error
        tree = apply_merge_patch(tree, overrides)
    return tree


def _expose(session: Session, change: Change, parsed: argparse.Namespace) -> None:
    if not parsed.port:
        raise CommandError("--port must be set when exposing a service")
    number = workloads.port_number(parsed.port)
    port = {"port": number, "protocol": "TCP", "targetPort": number}
    send(
        session,
        change,
        workloads.service(parsed.name, kind="", ports=[port], selector={"run": parsed.name}),
    )


async def _attach(session: Session, pod: Tree, parsed: argparse.Namespace) -> int:
    resource = session.kinds.find("pods")
    limit_s = moments.duration(parsed.pod_running_timeout, "--pod-running-timeout")
    for _ in moments.until(moments.monotonic() + limit_s):
        pod = session.get(resource, parsed.name)
        phase = (pod.get("status") or {}).get("phase")
        if phase in ("Running", "Succeeded", "Failed"):
            break
    else:
        raise CommandError(
            "timed out waiting for the condition", hint=f"'kutter why pod/{parsed.name}' tells why"
        )
    if phase == "Running":
        from kutter.cli.remote import Attachment, run_attached

        if not parsed.quiet and parsed.stdin:
            print("If you don't see a command prompt, try pressing enter.", file=sys.stderr)
        attachment = Attachment(
            pod["spec"]["containers"][0]["name"], stdin=parsed.stdin, tty=parsed.tty, quiet=True
        )
        await run_attached(session.connection, pod, attachment)
    else:
        reply = session.raw("GET", podtargets.pod_path(pod, "log"), accept="*/*")
        sys.stdout.buffer.write(reply.body)
    return _exit_code(session, parsed)


def _exit_code(session: Session, parsed: argparse.Namespace) -> int:
    """The container's own, when it does not start again."""
    if parsed.restart == "Always":
        return 0
    resource = session.kinds.find("pods")
    for _ in moments.until(moments.monotonic() + 5.0):
        pod = session.find(resource, parsed.name)
        statuses = ((pod or {}).get("status") or {}).get("containerStatuses") or ()
        for status in statuses:
            ended = (status.get("state") or {}).get("terminated")
            if ended is not None:
                return int(ended.get("exitCode") or 0)
    return 0


COMMAND = Command(
    name="run",
    summary="Run one pod of an image",
    configure=configure,
    run=run,
    examples=(
        "kutter run web --image=nginx --port=80",
        "kutter run shell -it --rm --restart=Never --image=busybox -- sh",
        "kutter run job --image=busybox --restart=Never --command -- date",
    ),
)
