"""Starting, and what the server weighs and spends when little or nothing happens."""

from __future__ import annotations

import asyncio
import dataclasses
import subprocess
import sys
import time

from bench.api import Report, create_pods
from bench.measure import Figure, busiest_wakeups, cpu_s, median_figure, resident_mb
from bench.target import OwnServer, as_service_account, environment, load_target

IDLE_S = 15.0
SETTLE_S = 3.0


async def bench_startup(report: Report, *, runs: int = 5) -> None:
    """From starting the process to ``/readyz``, first and later starts."""
    for what, fresh in (("fresh start to /readyz", True), ("restart to /readyz", False)):
        taken: list[float] = []
        spent: list[float] = []
        server = OwnServer()
        try:
            if not fresh:
                await server.start()
            for _ in range(runs):
                if fresh:
                    server.close()
                    server = OwnServer()
                else:
                    server.stop()
                taken.append(await server.start())
                spent.append(cpu_s([server.pid]))
        finally:
            server.close()
        report(median_figure(what, taken, "s", cpu_us=sorted(spent)[len(spent) // 2] * 1e6))


async def bench_command(report: Report, *, runs: int = 9) -> None:
    """``kutter get pods`` from the shell."""
    server = OwnServer()
    try:
        await server.start()
        admin = load_target("kutter", server.kubeconfig)
        target = await as_service_account(admin, server.kubeconfig)
        await create_pods(target, "get", 50)
        taken = []
        command = [sys.executable, "-m", "kutter", "get", "pods", "-n", "bench"]
        for _ in range(runs):
            started_s = time.perf_counter()
            process = await asyncio.create_subprocess_exec(
                *command,
                env={**environment(), "KUBECONFIG": str(server.kubeconfig)},
                stdout=subprocess.DEVNULL,
            )
            if await process.wait():
                raise RuntimeError("kutter get pods failed")
            taken.append((time.perf_counter() - started_s) * 1000)
        report(median_figure("kutter get pods (50)", taken, "ms"))
    finally:
        server.close()


async def bench_weight(
    report: Report, *, counts: tuple[int, ...] = (0, 100, 1000, 10_000), idle_s: float = IDLE_S
) -> None:
    """Memory and idle CPU of the server with so many pods (unscheduled, so nothing moves)."""
    server = OwnServer()
    try:
        await server.start()
        admin = load_target("kutter", server.kubeconfig)
        target = await as_service_account(admin, server.kubeconfig)
        target = dataclasses.replace(target, pids=(server.pid,))
        have = 0
        for count in counts:
            if count > have:
                await create_pods(target, f"w{have}", count - have)
                have = count
            await asyncio.sleep(SETTLE_S)
            before, woken = cpu_s(target.pids), busiest_wakeups(target.pids)
            await asyncio.sleep(idle_s)
            spent = (cpu_s(target.pids) - before) / idle_s * 100
            after = busiest_wakeups(target.pids)
            rate = max((n - woken.get(thread, n)) / idle_s for thread, n in after.items())
            report(Figure(f"memory with {count} pods", resident_mb(target.pids), "MB"))
            report(Figure(f"CPU idle with {count} pods", spent, "% of a core"))
            report(Figure(f"wake-ups of the busiest thread with {count} pods", rate, "1/s"))
    finally:
        server.close()
