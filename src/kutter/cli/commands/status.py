"""``kutter status``: what runs on this machine and what it uses."""

from __future__ import annotations

import argparse

import orjson

from kutter.cli.cluster_flags import add_place_flags, config_from
from kutter.cli.command import Command


def configure(parser: argparse.ArgumentParser) -> None:
    add_place_flags(parser)
    parser.add_argument("-o", "--output", choices=("json",), help="print JSON")


def run(parsed: argparse.Namespace) -> int:
    from kutter.cluster import processes
    from kutter.cluster.lifecycle import observe, own_command

    config = config_from(parsed)
    state = observe(config)
    rows = []
    for name, running in (
        ("server", state.server),
        ("agent", state.agent),
        ("supervisor", state.supervisor),
    ):
        rows.append(
            {
                "component": name,
                "running": running is not None,
                "pid": running.pid if running else None,
                "residentBytes": processes.resident_bytes(running.pid) if running else 0,
                "cpuSeconds": round(processes.cpu_seconds(running.pid), 2) if running else 0.0,
                "log": str(config.log_dir / f"{name}.log"),
            }
        )
    up = state.server is not None and state.agent is not None
    if parsed.output == "json":
        facts = {"up": up, "server": config.server_url, "components": rows}
        print(orjson.dumps(facts, option=orjson.OPT_INDENT_2).decode())
        return 0 if up else 3
    print(f"{'COMPONENT':<12}{'STATE':<10}{'PID':<9}{'MEMORY':<10}{'CPU TIME':<10}LOG")
    for row in rows:
        memory = f"{int(str(row['residentBytes'])) / 2**20:.0f} MiB" if row["running"] else "-"
        cpu = f"{row['cpuSeconds']} s" if row["running"] else "-"
        word = "running" if row["running"] else "stopped"
        print(
            f"{row['component']!s:<12}{word:<10}{row['pid'] or '-'!s:<9}{memory:<10}{cpu:<10}"
            f"{row['log']}"
        )
    if up:
        print(f"\nAPI server: {config.server_url}")
        if state.supervisor is None:
            again = f"sudo {own_command()} up"
            print(f"Nothing starts them again if they end: '{again}' puts that right.")
    else:
        print(f"\nStart it with 'sudo {own_command()} up'.")
    return 0 if up else 3


COMMAND = Command(
    name="status",
    summary="Show whether it runs and what it uses",
    description="Exit code 0 when everything runs, 3 when not.",
    configure=configure,
    run=run,
    examples=("kutter status", "kutter status -o json"),
)
