"""``kutter create deployment|job|cronjob|service|namespace``."""

from __future__ import annotations

import argparse
from typing import Any

from kutter.cli.command import Command, CommandError, Parser
from kutter.cli.generators import workloads
from kutter.cli.making import maker, need
from kutter.cli.session import Session

Tree = dict[str, Any]


def _namespace(session: Session, parsed: argparse.Namespace) -> Tree:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": parsed.name}}


def _no_flags(parser: Parser) -> None:
    """Nothing but the name."""


def _deployment_flags(parser: Parser) -> None:
    parser.add_argument("words", nargs="*", help=argparse.SUPPRESS)
    parser.add_argument("--image", metavar="IMAGE", action="append", default=[], help="its image")
    parser.add_argument("-r", "--replicas", metavar="N", type=int, default=1, help="how many pods")
    parser.add_argument("--port", metavar="N", type=int, help="the port the container listens at")


def _deployment(session: Session, parsed: argparse.Namespace) -> Tree:
    return workloads.deployment(
        parsed.name,
        need(parsed.image, "image"),
        replicas=parsed.replicas,
        port=parsed.port,
        command=parsed.rest or parsed.words,
    )


def _job_flags(parser: Parser) -> None:
    parser.add_argument("words", nargs="*", help=argparse.SUPPRESS)
    parser.add_argument("--image", metavar="IMAGE", default="", help="its image")
    parser.add_argument("--from", dest="source", metavar="cronjob/NAME", default="",
                        help="take the template of a cron job")  # fmt: skip


def _job(session: Session, parsed: argparse.Namespace) -> Tree:
    command = parsed.rest or parsed.words
    if bool(parsed.image) == bool(parsed.source):
        raise CommandError("either --image or --from must be specified")
    if not parsed.source:
        return workloads.job(parsed.name, parsed.image, command)
    from kutter.cli.references import one_reference

    reference = one_reference([parsed.source], session.kinds)
    if reference.resource.plural != "cronjobs":
        raise CommandError("from must be an existing cronjob")
    return workloads.job_from(parsed.name, session.get(reference.resource, reference.names[0]))


def _cron_flags(parser: Parser) -> None:
    parser.add_argument("words", nargs="*", help=argparse.SUPPRESS)
    parser.add_argument("--image", metavar="IMAGE", default="", help="its image")
    parser.add_argument("--schedule", metavar="CRON", default="", help='such as "*/5 * * * *"')
    parser.add_argument("--restart", metavar="POLICY", default="OnFailure", help="OnFailure, Never")


def _cron_job(session: Session, parsed: argparse.Namespace) -> Tree:
    job = workloads.job(parsed.name, need(parsed.image, "image"), parsed.rest or parsed.words)
    job["spec"]["template"]["spec"]["restartPolicy"] = parsed.restart
    return {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": {"name": parsed.name},
        "spec": {
            "schedule": need(parsed.schedule, "schedule"),
            "jobTemplate": {"metadata": {"name": parsed.name}, "spec": job["spec"]},
        },
    }


def _service_flags(kind: str) -> Any:
    def flags(parser: Parser) -> None:
        if kind == "ExternalName":
            parser.add_argument("--external-name", metavar="HOST", default="", help="the host")
        parser.add_argument("--tcp", metavar="PORT[:TARGET]", action="append", default=[],
                            help="a port, and the pods' port if it differs")  # fmt: skip
        if kind == "ClusterIP":
            parser.add_argument("--clusterip", metavar="IP", default="", help="address, or None")
        if kind == "NodePort":
            parser.add_argument("--node-port", metavar="N", type=int, default=0, help="node port")

    return flags


def _service(kind: str) -> Any:
    def make(session: Session, parsed: argparse.Namespace) -> Tree:
        ports = [workloads.service_port(t) for given in parsed.tcp for t in given.split(",")]
        cluster_ip = getattr(parsed, "clusterip", "")
        if not ports and cluster_ip != "None" and kind != "ExternalName":
            raise CommandError("at least one tcp port specifier must be provided")
        if getattr(parsed, "node_port", 0) and len(ports) == 1:
            ports[0]["nodePort"] = parsed.node_port
        labels = {"app": parsed.name}
        external = getattr(parsed, "external_name", "")
        if kind == "ExternalName":
            need(external, "external-name")
        return workloads.service(
            parsed.name,
            kind=kind,
            ports=ports,
            selector=labels,
            labels=labels,
            clusterIP=cluster_ip,
            externalName=external,
        )

    return make


def _service_command(name: str, kind: str, example: str) -> Command:
    return maker(name, f"A {kind} service", _service_flags(kind), _service(kind), (example,))


_SERVICES = (
    _service_command("clusterip", "ClusterIP", "kutter create service clusterip web --tcp=80:8080"),
    _service_command("nodeport", "NodePort", "kutter create service nodeport web --tcp=80"),
    _service_command(
        "loadbalancer", "LoadBalancer", "kutter create service loadbalancer web --tcp=80:8080"
    ),
    _service_command(
        "externalname",
        "ExternalName",
        "kutter create service externalname db --external-name db.example.org",
    ),
)

COMMANDS = (
    maker(
        "namespace",
        "A namespace",
        _no_flags,
        _namespace,
        ("kutter create namespace team-a",),
    ),
    maker(
        "deployment",
        "A deployment of an image",
        _deployment_flags,
        _deployment,
        (
            "kutter create deployment web --image=nginx --replicas=3 --port=80",
            "kutter create deployment pinger --image=busybox -- ping 127.0.0.1",
        ),
    ),
    maker(
        "job",
        "A job from an image or a cron job",
        _job_flags,
        _job,
        (
            "kutter create job pi --image=perl -- perl -Mbignum=bpi -wle 'print bpi(100)'",
            "kutter create job now --from=cronjob/nightly",
        ),
    ),
    maker(
        "cronjob",
        "A cron job",
        _cron_flags,
        _cron_job,
        ("kutter create cronjob hello --image=busybox --schedule='*/5 * * * *' -- date",),
    ),
    Command(
        name="service",
        summary="A service",
        examples=("kutter create service clusterip web --tcp=80:8080",),
        subcommands={c.name: c for c in _SERVICES},
    ),
)
_by_name = {c.name: c for c in COMMANDS}
ALIASES = {
    "ns": _by_name["namespace"],
    "deploy": _by_name["deployment"],
    "cj": _by_name["cronjob"],
    "svc": _by_name["service"],
}
