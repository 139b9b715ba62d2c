"""``python -m bench [WHAT ...]``: measure a fresh Kutter, or any API server by its kubeconfig.

WHAT is any of api, lists, growth, watch, scheduling (any server), startup, weight, command
(Kutter only); without it all are measured. ``--compare`` measures a second server with the same
load and prints ratios.
"""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import uvloop

from bench import report
from bench.api import Report, bench_api, bench_growth, bench_lists
from bench.driver import Target
from bench.measure import Figure
from bench.scheduling import bench_scheduling
from bench.startup import bench_command, bench_startup, bench_weight
from bench.target import as_service_account, load_target, own_target
from bench.watching import bench_watch

ANY: dict[str, Callable[[Target, Report], Awaitable[None]]] = {
    "api": bench_api,
    "lists": bench_lists,
    "growth": bench_growth,
    "watch": bench_watch,
    "scheduling": bench_scheduling,
}
OWN: dict[str, Callable[[Report], Awaitable[None]]] = {
    "startup": bench_startup,
    "weight": bench_weight,
    "command": bench_command,
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("what", nargs="*", metavar="WHAT", help=" ".join([*OWN, *ANY]))
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--kubeconfig", type=Path, help="measure this server, not a fresh one")
    parser.add_argument("--server", default="", help="its address, if not the kubeconfig's")
    parser.add_argument("--compare", type=Path, help="kubeconfig of a server to compare with")
    parser.add_argument("--pid", type=int, action="append", default=[], help="its processes")
    options = parser.parse_args()
    unknown = set(options.what) - {*ANY, *OWN}
    if unknown:
        parser.error(f"unknown: {' '.join(sorted(unknown))}; known: {' '.join([*OWN, *ANY])}")
    uvloop.run(_measure(options))


async def _measure(options: argparse.Namespace) -> None:
    chosen = options.what or [*OWN, *ANY]
    before = report.machine()
    print(f"{before['cpus']} CPUs, load {before['load1']:.1f}, Python {before['python']}")
    if before["load1"] > 0.5:
        print("The machine is busy: believe the CPU column rather than the rates.")
    results: dict[str, list[Figure]] = {}
    foreign = options.kubeconfig is not None
    name = "given" if foreign else "kutter"
    figures = results.setdefault(name, [])
    for what in chosen:
        if what in OWN and not foreign:
            report.print_head(f"{name}: {what}")
            await OWN[what](_collect(figures))
    if foreign:
        async with _foreign(name, options.kubeconfig, options.server, options.pid) as target:
            await _measure_any(target, chosen, figures)
    else:
        for what in chosen:
            if what in ANY:  # each on a server of its own: none starts with another's leavings
                async with own_target() as target:
                    await _measure_any(target, [what], figures)
    if options.compare is not None:
        async with _foreign("compared", options.compare, "", []) as target:
            await _measure_any(target, chosen, results.setdefault("compared", []))
        report.print_ratios(results)
    if options.json is not None:
        report.write_json(options.json, results, before)


async def _measure_any(target: Target, chosen: list[str], figures: list[Figure]) -> None:
    for what in chosen:
        if what in ANY:
            report.print_head(f"{target.name}: {what}")
            await ANY[what](target, _collect(figures))


def _collect(figures: list[Figure]) -> Report:
    def take(figure: Figure) -> None:
        figures.append(figure)
        report.print_row(figure)

    return take


@contextlib.asynccontextmanager
async def _foreign(
    name: str, kubeconfig: Path, server: str, pids: list[int]
) -> AsyncIterator[Target]:
    import dataclasses

    admin = load_target(name, kubeconfig, server)
    target = await as_service_account(admin, kubeconfig)
    yield dataclasses.replace(target, pids=tuple(pids))


if __name__ == "__main__":
    main()
