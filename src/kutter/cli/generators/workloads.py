"""Deployments, jobs, pods and services from a name and an image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kutter.cli.command import CommandError

Tree = dict[str, Any]


def metadata(name: str, labels: dict[str, str] | None = None) -> Tree:
    return {"name": name, "labels": labels} if labels else {"name": name}


def image_name(image: str) -> str:
    """A container's name from its image: the last part without tag and digest."""
    name = image.rpartition("/")[2].partition("@")[0].partition(":")[0]
    cleaned = "".join(c if c.isalnum() or c == "-" else "-" for c in name.lower()).strip("-")
    return cleaned or "app"


def deployment(
    name: str, images: Sequence[str], *, replicas: int, port: int | None, command: Sequence[str]
) -> Tree:
    labels = {"app": name}
    if len(images) > 1 and command:
        raise CommandError("cannot specify multiple --image options and command")
    containers = [{"name": image_name(image), "image": image} for image in images]
    if command:
        containers[0]["command"] = list(command)  # type: ignore[assignment]
    if port is not None:
        for container in containers:
            container["ports"] = [{"containerPort": port}]  # type: ignore[assignment]
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata(name, labels),
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": containers}},
        },
    }


def job(name: str, image: str, command: Sequence[str]) -> Tree:
    container: Tree = {"name": name, "image": image}
    if command:
        container["command"] = list(command)
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": metadata(name),
        "spec": {"template": {"spec": {"containers": [container], "restartPolicy": "Never"}}},
    }


def job_from(name: str, cron_job: Tree) -> Tree:
    """A job now from a cron job's template."""
    template = (cron_job.get("spec") or {}).get("jobTemplate") or {}
    meta = template.get("metadata") or {}
    annotations = {"cronjob.kubernetes.io/instantiate": "manual", **(meta.get("annotations") or {})}
    owner = {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "name": cron_job["metadata"]["name"],
        "uid": cron_job["metadata"]["uid"],
        "controller": True,
    }
    head: Tree = {"name": name, "annotations": annotations, "ownerReferences": [owner]}
    if meta.get("labels"):
        head["labels"] = meta["labels"]
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": head, "spec": template["spec"]}


def service(
    name: str,
    *,
    kind: str,
    ports: Sequence[Tree],
    selector: dict[str, str] | None = None,
    labels: dict[str, str] | None = None,
    **more: Any,
) -> Tree:
    """A service; ``more`` are further fields of its spec, empty ones left out."""
    spec: Tree = {"type": kind} if kind else {}
    if ports:
        spec["ports"] = list(ports)
    if selector:
        spec["selector"] = selector
    spec |= {key: value for key, value in more.items() if value}
    return {"apiVersion": "v1", "kind": "Service", "metadata": metadata(name, labels), "spec": spec}


def service_port(text: str, protocol: str = "TCP") -> Tree:
    """``5678:8080`` or ``80`` as a service's port."""
    port, _, target = text.partition(":")
    number = port_number(port)
    return {
        "name": text.replace(":", "-"),
        "port": number,
        "protocol": protocol,
        "targetPort": int_or_text(target or port),
    }


def port_number(text: str) -> int:
    if not text.isdigit() or not 0 < int(text) < 65536:
        raise CommandError(f"invalid port {text!r}: expected 1 to 65535")
    return int(text)


def int_or_text(text: str) -> int | str:
    return int(text) if text.isdigit() else text
