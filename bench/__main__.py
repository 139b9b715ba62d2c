"""``python -m bench [WHAT ...]``: measure a fresh Kutter, or any API server by its kubeconfig.

WHAT is any of api, half, lists, growth, watch, scheduling (any server), startup, weight, command,
cluster (Kutter only; cluster needs root); without it all are measured, in about ten minutes.
``--quick`` takes fewer and shorter runs of everything. ``--compare`` measures a second server with
the same load and prints ratios. Each figure stands beside upstream's and the aim, where there are
any; the end says which aims are met.
"""

from __future__ import annotations

import argparse
import contextlib
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import uvloop

from bench import api, report
from bench.api import Report, bench_api, bench_growth, bench_lists
from bench.cluster import bench_cluster
from bench.driver import Target
from bench.measure import Figure
from bench.paced import bench_half
from bench.scheduling import bench_scheduling
from bench.startup import bench_command, bench_startup, bench_weight
from bench.target import as_service_account, load_target, own_target
from bench.watching import bench_watch

ANY: dict[str, Callable[..., Awaitable[None]]] = {
    "api": bench_api,
    "half": bench_half,
    "lists": bench_lists,
    "growth": bench_growth,
    "watch": bench_watch,
    "scheduling": bench_scheduling,
}
OWN: dict[str, Callable[..., Awaitable[None]]] = {
    "startup": bench_startup,
    "weight": bench_weight,
    "command": bench_command,
    "cluster": bench_cluster,
}
# What --quick makes of it: less of everything, the objects of the aims where they matter.
QUICK: dict[str, dict[str, Any]] = {
    "api": {"count": 600},
    "half": {"seconds": 3.0},
    "growth": {"high": 3000},
    "scheduling": {"runs": 1},
    "startup": {"runs": 3},
    "weight": {"counts": (0, 10_000), "idle_s": 6.0},
    "cluster": {"pods": 15},
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("what", nargs="*", metavar="WHAT", help=" ".join([*OWN, *ANY]))
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--kubeconfig", type=Path, help="measure this server, not a fresh one")
    parser.add_argument("--server", default="", help="its address, if not the kubeconfig's")
    parser.add_argument("--compare", type=Path, help="kubeconfig of a server to compare with")
    parser.add_argument("--pid", type=int, action="append", default=[], help="its processes")
    parser.add_argument("--quick", action="store_true", help="fewer and shorter runs")
    options = parser.parse_args()
    if options.quick:
        api.RUNS, api.READ_S = 2, 0.6
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
    failures: list[str] = []
    foreign = options.kubeconfig is not None
    name = "given" if foreign else "kutter"
    figures = results.setdefault(name, [])
    for what in chosen:
        if what in OWN and not foreign:
            report.print_head(f"{name}: {what}")
            more = QUICK.get(what, {}) if options.quick else {}
            await _guarded(what, failures, OWN[what](_collect(figures), **more))
    if foreign:
        async with _foreign(name, options.kubeconfig, options.server, options.pid) as target:
            await _measure_any(target, chosen, figures, failures, quick=options.quick)
    else:
        for what in chosen:
            if what in ANY:  # each on a server of its own: none starts with another's leavings
                async with own_target() as target:
                    await _measure_any(target, [what], figures, failures, quick=options.quick)
    if options.compare is not None:
        async with _foreign("compared", options.compare, "", []) as target:
            theirs = results.setdefault("compared", [])
            await _measure_any(target, chosen, theirs, failures, quick=options.quick)
        report.print_ratios(results)
    report.print_aims(figures, all_of_them=not options.what)
    if options.json is not None:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        report.write_json(options.json, results, before)
    if failures:
        raise SystemExit("could not be measured: " + "; ".join(failures))


async def _measure_any(
    target: Target, chosen: list[str], figures: list[Figure], failures: list[str], *, quick: bool
) -> None:
    for what in chosen:
        if what in ANY:
            report.print_head(f"{target.name}: {what}")
            more = QUICK.get(what, {}) if quick else {}
            await _guarded(what, failures, ANY[what](target, _collect(figures), **more))


async def _guarded(what: str, failures: list[str], work: Awaitable[None]) -> None:
    """What fails must not take the figures measured so far with it; it fails the run at its end."""
    try:
        await work
    except Exception as error:
        traceback.print_exc()
        failures.append(f"{what}: {error!r}")


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
