"""Containers of a pod or a pod template. Pure."""

from __future__ import annotations

from typing import Any

from kutter.cli.describe.layout import Page
from kutter.cli.describe.probes import probe_text
from kutter.cli.moments import long_time

Tree = dict[str, Any]
_PROBES = (("Liveness", "livenessProbe"), ("Readiness", "readinessProbe"),
           ("Startup", "startupProbe"))  # fmt: skip


def add_containers(
    page: Page,
    title: str,
    containers: list[Tree],
    statuses: list[Tree] | None,
    *,
    pod: Tree | None = None,
    level: int = 0,
) -> None:
    """``statuses`` is None for a template; ``pod`` resolves field references."""
    if not containers:
        page.field(title, "<none>", level)
        return
    page.add(f"{title}:", level)
    by_name = {status["name"]: status for status in statuses or ()}
    for container in containers:
        # In a template the name stands one space further in only, as kubectl has it.
        page.add(f"{' ' if level else '  '}{container['name']}:", level)
        _add_container(page, container, by_name.get(container["name"]), pod, 2)


def _add_container(
    page: Page, container: Tree, status: Tree | None, pod: Tree | None, level: int
) -> None:
    if status is not None:
        page.field("Container ID", status.get("containerID", ""), level)
    page.field("Image", container.get("image", ""), level)
    if status is not None:
        page.field("Image ID", status.get("imageID", ""), level)
    _add_ports(page, container.get("ports") or [], level)
    for title, key in (("Command", "command"), ("Args", "args")):
        if container.get(key):
            page.add(f"{title}:", level)
            for word in container[key]:
                for line in str(word).split("\n"):
                    page.add(line, level + 1)
    if status is not None:
        _add_status(page, status, level)
    resources = container.get("resources") or {}
    for title, key in (("Limits", "limits"), ("Requests", "requests")):
        if resources.get(key):
            page.add(f"{title}:", level)
            for name, amount in sorted(resources[key].items()):
                page.field(name, amount, level + 1)
    for title, key in _PROBES:
        if container.get(key):
            page.field(title, probe_text(container[key]), level)
    _add_environment(page, container, pod, level)
    _add_mounts(page, container.get("volumeMounts") or [], level)


def _add_ports(page: Page, ports: list[Tree], level: int) -> None:
    inner = ", ".join(f"{p['containerPort']}/{p.get('protocol', 'TCP')}" for p in ports)
    outer = ", ".join(f"{p.get('hostPort', 0)}/{p.get('protocol', 'TCP')}" for p in ports)
    plural = "s" if len(ports) > 1 else ""
    page.field(f"Port{plural}", inner or "<none>", level)
    page.field(f"Host Port{plural}", outer or "<none>", level)


def _add_status(page: Page, status: Tree, level: int) -> None:
    _add_state(page, "State", status.get("state") or {}, level)
    if (status.get("lastState") or {}).get("terminated"):
        _add_state(page, "Last State", status["lastState"], level)
    page.field("Ready", "True" if status.get("ready") else "False", level)
    page.field("Restart Count", status.get("restartCount", 0), level)


def _add_state(page: Page, title: str, state: Tree, level: int) -> None:
    if "running" in state:
        page.field(title, "Running", level)
        page.field("Started", long_time(state["running"].get("startedAt")), level + 1)
    elif "terminated" in state:
        ended = state["terminated"]
        page.field(title, "Terminated", level)
        for name, key in (("Reason", "reason"), ("Message", "message")):
            if ended.get(key):
                page.field(name, ended[key], level + 1)
        page.field("Exit Code", ended.get("exitCode", 0), level + 1)
        if ended.get("signal"):
            page.field("Signal", ended["signal"], level + 1)
        page.field("Started", long_time(ended.get("startedAt")), level + 1)
        page.field("Finished", long_time(ended.get("finishedAt")), level + 1)
    elif "waiting" in state:
        page.field(title, "Waiting", level)
        if state["waiting"].get("reason"):
            page.field("Reason", state["waiting"]["reason"], level + 1)
    else:
        page.field(title, "Waiting", level)


def _add_environment(page: Page, container: Tree, pod: Tree | None, level: int) -> None:
    sources = container.get("envFrom") or ()
    if sources:
        page.add("Environment Variables from:", level)
        for source in sources:
            kind, reference = (
                ("ConfigMap", source["configMapRef"])
                if "configMapRef" in source
                else ("Secret", source.get("secretRef") or {})
            )
            prefix = f" with prefix '{source['prefix']}'" if source.get("prefix") else ""
            optional = "true" if reference.get("optional") else "false"
            page.add(f"{reference.get('name')}\t{kind}{prefix}\tOptional: {optional}", level + 1)
    env = container.get("env") or ()
    if not env:
        page.field("Environment", "<none>", level)
        return
    page.add("Environment:", level)
    for entry in env:
        page.add(f"{entry['name']}:\t{_env_value(entry, pod)}", level + 1)


def _env_value(entry: Tree, pod: Tree | None) -> str:
    source = entry.get("valueFrom")
    if not source:
        return str(entry.get("value", "")).replace("\n", "\n\t")
    if "fieldRef" in source:
        reference = source["fieldRef"]
        version, path = reference.get("apiVersion", "v1"), reference["fieldPath"]
        return f"{_field_value(pod, path)} ({version}:{path})"
    if "resourceFieldRef" in source:
        return f"{source['resourceFieldRef'].get('resource')} of the container"
    for key, kind in (("secretKeyRef", "secret"), ("configMapKeyRef", "config map")):
        if key in source:
            reference = source[key]
            optional = "true" if reference.get("optional") else "false"
            return (
                f"<set to the key '{reference['key']}' {'of' if kind == 'config map' else 'in'}"
                f" {kind} '{reference.get('name')}'>\tOptional: {optional}"
            )
    return "<unknown>"


def _field_value(pod: Tree | None, path: str) -> str:
    value: Any = pod
    for part in path.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return str(value) if isinstance(value, str | int) else ""


def _add_mounts(page: Page, mounts: list[Tree], level: int) -> None:
    if not mounts:
        page.field("Mounts", "<none>", level)
        return
    page.add("Mounts:", level)
    for mount in sorted(mounts, key=lambda m: str(m.get("mountPath"))):
        flags = ["ro" if mount.get("readOnly") else "rw"]
        if mount.get("subPath"):
            flags.append(f'path="{mount["subPath"]}"')
        page.add(f"{mount.get('mountPath')} from {mount['name']} ({','.join(flags)})", level + 1)
