"""``kutter top``: what nodes and pods use now, asked from the node agents themselves."""

from __future__ import annotations

import argparse
from typing import Any

from kutter.api.errors import ApiError
from kutter.api.quantity import milli, whole
from kutter.cli.command import Command, CommandError, Parser
from kutter.cli.connection import add_connection_flags, open_session
from kutter.cli.failures import Failures
from kutter.cli.printers.tabs import Tabs
from kutter.cli.session import Session

Tree = dict[str, Any]


def _shared(parser: Parser) -> None:
    parser.add_argument("words", nargs="*", metavar="NAME", help="only these")
    parser.add_argument("-l", "--selector", metavar="LABELS", default="", help="only these labels")
    parser.add_argument("--sort-by", metavar="FIELD", default="", choices=("", "cpu", "memory"),
                        help="cpu or memory")  # fmt: skip
    parser.switch("--no-headers", help="no column headers")
    parser.add_argument("-o", "--output", metavar="FORM", default="", choices=("", "json"),
                        help="json")  # fmt: skip
    add_connection_flags(parser)


def summary_of(session: Session, node: str) -> Tree:
    """The agent's ``stats/summary``. Raises ApiError."""
    return session.call("GET", f"/api/v1/nodes/{node}/proxy/stats/summary")


def usage(stats: Tree) -> tuple[int, int]:
    """CPU in thousandths of a core and working set in bytes, of a summary's part."""
    cpu = (stats.get("cpu") or {}).get("usageNanoCores") or 0
    memory = (stats.get("memory") or {}).get("workingSetBytes") or 0
    return -(-int(cpu) // 1_000_000), int(memory)


def _nodes(parsed: argparse.Namespace) -> int:
    session, failures = open_session(parsed), Failures()
    nodes = session.list(session.kinds.find("nodes"), selector=parsed.selector)
    rows: list[tuple[str, int, int, Tree]] = []
    for node in nodes:
        name = node["metadata"]["name"]
        if parsed.words and name not in parsed.words:
            continue
        try:
            cpu, memory = usage(summary_of(session, name).get("node") or {})
        except ApiError as error:
            failures.add(error)
            continue
        rows.append((name, cpu, memory, (node.get("status") or {}).get("allocatable") or {}))
    _sort(rows, parsed.sort_by)
    if parsed.output:
        _print_json([{"name": n, "cpuMillis": c, "memoryBytes": m} for n, c, m, _ in rows])
        return failures.exit_code
    head = [["NAME", "CPU(cores)", "CPU(%)", "MEMORY(bytes)", "MEMORY(%)"]]
    lines = [] if parsed.no_headers else head
    for name, cpu, memory, has in rows:
        lines.append([name, f"{cpu}m", _share(cpu, milli(has.get("cpu", "0"))), _mebi(memory),
                      _share(memory, whole(has.get("memory", "0")))])  # fmt: skip
    if rows:
        print("\n".join(Tabs().render(lines)))
    return failures.exit_code


def _share(used: int, there: int) -> str:
    return f"{used * 100 // there}%" if there else "<unknown>"


def _mebi(size_bytes: int) -> str:
    return f"{size_bytes // 2**20}Mi"


def _sort(rows: list[Any], by: str) -> None:
    column = {"cpu": 1, "memory": 2}.get(by)
    if column is None:
        rows.sort(key=lambda row: row[0])
    else:
        rows.sort(key=lambda row: -row[column])


def _pod_flags(parser: Parser) -> None:
    _shared(parser)
    parser.switch("-A", "--all-namespaces", help="in all namespaces")
    parser.switch("--containers", help="container by container")


def _pods(parsed: argparse.Namespace) -> int:
    session, failures = open_session(parsed), Failures()
    where = "" if parsed.all_namespaces else session.namespace
    pods = session.list(session.kinds.find("pods"), where, selector=parsed.selector)
    wanted = {(p["metadata"]["namespace"], p["metadata"]["name"]): p for p in pods}
    if parsed.words:
        wanted = {key: pod for key, pod in wanted.items() if key[1] in parsed.words}
        missing = set(parsed.words) - {name for _, name in wanted}
        for name in sorted(missing):
            failures.add(CommandError(f'pods "{name}" not found'))
    rows: list[tuple[str, int, int, str, str]] = []
    for node in sorted({(p.get("spec") or {}).get("nodeName", "") for p in wanted.values()} - {""}):
        try:
            summary = summary_of(session, node)
        except ApiError as error:
            failures.add(error)
            continue
        for stats in summary.get("pods") or ():
            reference = stats["podRef"]
            key = (reference["namespace"], reference["name"])
            if key in wanted:
                rows += _pod_rows(key, stats, by_container=parsed.containers)
    _sort(rows, parsed.sort_by)
    if parsed.output:
        _print_json(
            [
                {"namespace": ns, "name": n, "container": c, "cpuMillis": cpu, "memoryBytes": m}
                for n, cpu, m, ns, c in rows
            ]
        )
        return failures.exit_code
    lines: list[list[str]] = []
    if not parsed.no_headers:
        head = ["NAMESPACE"] if parsed.all_namespaces else []
        head += ["POD", "NAME"] if parsed.containers else ["NAME"]
        lines.append([*head, "CPU(cores)", "MEMORY(bytes)"])
    for name, cpu, memory, namespace, container in rows:
        cells = [namespace] if parsed.all_namespaces else []
        cells += [name, container] if parsed.containers else [name]
        lines.append([*cells, f"{cpu}m", _mebi(memory)])
    if rows:
        print("\n".join(Tabs().render(lines)))
    elif not failures.exit_code:
        raise CommandError("there is nothing running to show", hint="'kutter get pods' lists pods")
    return failures.exit_code


def _pod_rows(
    key: tuple[str, str], stats: Tree, *, by_container: bool
) -> list[tuple[str, int, int, str, str]]:
    namespace, name = key
    containers = [(c["name"], *usage(c)) for c in stats.get("containers") or ()]
    if by_container:
        return [(name, cpu, memory, namespace, c) for c, cpu, memory in containers]
    cpu, memory = usage(stats)
    if not cpu and not memory:
        cpu, memory = sum(c[1] for c in containers), sum(c[2] for c in containers)
    return [(name, cpu, memory, namespace, "")]


def _print_json(rows: list[Tree]) -> None:
    from kutter.cli.printers.json_text import render_json

    print(render_json(rows), end="")


_NODE = Command(
    name="node",
    summary="Nodes",
    configure=_shared,
    run=_nodes,
    examples=("kutter top node --sort-by=memory",),
)
_POD = Command(
    name="pod",
    summary="Pods",
    configure=_pod_flags,
    run=_pods,
    examples=("kutter top pod -A --containers",),
)

COMMAND = Command(
    name="top",
    summary="Show what nodes and pods use now",
    examples=("kutter top node", "kutter top pod -A"),
    subcommands={"node": _NODE, "nodes": _NODE, "no": _NODE, "pod": _POD, "pods": _POD, "po": _POD},
)
