"""Requests on single objects and lists: how many, how late, for how much CPU."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterable, Iterator

from bench.driver import LoadResult, Target, run_load
from bench.measure import Figure, cpu_s, median_figure
from bench.objects import CONFIG_MAPS, PODS, pod_body

Report = Callable[[Figure], None]
LANES = 32
RUNS = 3
READ_S = 1.0
MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
JSON_PATCH = "application/json-patch+json"
APPLY = "application/apply-patch+yaml"


async def measure(
    target: Target,
    what: str,
    make: Callable[[int], Iterable[bytes]],
    *,
    lanes: int = LANES,
    seconds: float = 0.0,
    runs: int = 0,
    unit: str = "requests/s",
) -> Figure:
    """The median rate of several runs; latencies of all of them together."""
    rates: list[float] = []
    costs: list[float] = []
    together = LoadResult()
    for number in range(runs or RUNS):
        before = cpu_s(target.pids)
        result = await run_load(target, make(number), lanes=lanes, seconds=seconds)
        spent = cpu_s(target.pids) - before
        rates.append(result.count / result.wall_s)
        costs.append(spent / result.count * 1e6)
        together.latencies_s += result.latencies_s
        together.statuses += result.statuses
    return median_figure(
        what,
        rates,
        unit,
        p50_ms=together.percentile_ms(0.5),
        p99_ms=together.percentile_ms(0.99),
        cpu_us=sorted(costs)[len(costs) // 2] if target.pids else None,
        failed=together.failed,
    )


def fixed(request: bytes) -> Callable[[int], Iterator[bytes]]:
    """The same request again and again."""
    return lambda _: itertools.repeat(request)


async def create_pods(target: Target, prefix: str, count: int) -> LoadResult:
    """``count`` unscheduled pods named ``<prefix>-0`` ..., each with a label of its tenth."""
    return await run_load(
        target,
        (
            target.request("POST", PODS, pod_body(f"{prefix}-{i}", labels={"tenth": str(i % 10)}))
            for i in range(count)
        ),
        lanes=LANES,
    )


async def delete_pods(target: Target, names: Iterable[str]) -> LoadResult:
    return await run_load(
        target, (target.request("DELETE", f"{PODS}/{name}") for name in names), lanes=LANES
    )


async def bench_api(target: Target, report: Report, *, count: int = 2000) -> None:
    """One object at a time: create, read, change in every way, delete."""

    def posts(run: int) -> Iterator[bytes]:
        return (target.request("POST", PODS, pod_body(f"post-{run}-{i}")) for i in range(count))

    report(await measure(target, "POST pod", posts))
    names = [f"post-{run}-{i}" for run in range(RUNS) for i in range(count)]
    report(
        await measure(
            target, "GET pod", fixed(target.request("GET", f"{PODS}/{names[0]}")), seconds=READ_S
        )
    )

    def patches(kind: str, body: bytes) -> Callable[[int], Iterator[bytes]]:
        # Bodies name the run, so that every request changes something.
        return lambda run: (
            target.request("PATCH", f"{PODS}/{name}", body % run, kind)
            for name in names[: count // 2]
        )

    label = b'{"metadata":{"labels":{"%b":"r%%d"}}}'
    report(await measure(target, "PATCH merge", patches(MERGE, label % b"merge")))
    report(await measure(target, "PATCH strategic", patches(STRATEGIC, label % b"strategic")))
    operation = b'[{"op":"add","path":"/metadata/labels/json","value":"r%d"}]'
    report(await measure(target, "PATCH json", patches(JSON_PATCH, operation)))
    await bench_config_maps(target, report, count=count // 2)

    def deletes(run: int) -> Iterator[bytes]:
        part = names[run * count : (run + 1) * count]
        return (target.request("DELETE", f"{PODS}/{name}") for name in part)

    report(await measure(target, "DELETE pod", deletes))


async def bench_config_maps(target: Target, report: Report, *, count: int) -> None:
    """PUT and apply, on the kind that needs nothing else."""

    def tree(name: str, run: int) -> bytes:
        meta = {"name": name, "labels": {"run": f"r{run}"}}
        data = {f"key-{i}": "v" * 40 for i in range(10)}
        return json.dumps(
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": data}
        ).encode()

    names = [f"put-{i}" for i in range(count)]
    await run_load(
        target,
        (target.request("POST", CONFIG_MAPS, tree(name, -1)) for name in names),
        lanes=LANES,
    )

    def puts(run: int) -> Iterator[bytes]:
        return (target.request("PUT", f"{CONFIG_MAPS}/{n}", tree(n, run)) for n in names)

    def applies(run: int) -> Iterator[bytes]:
        query = "?fieldManager=bench&force=true"
        return (
            target.request("PATCH", f"{CONFIG_MAPS}/{n}{query}", tree(n, 100 + run), APPLY)
            for n in names
        )

    report(await measure(target, "PUT config map", puts))
    report(await measure(target, "apply config map", applies))
    await run_load(
        target, (target.request("DELETE", f"{CONFIG_MAPS}/{n}") for n in names), lanes=LANES
    )


async def bench_lists(target: Target, report: Report, *, count: int = 8500) -> None:
    """LIST of many pods: whole, of a namespace, by selector, by pages."""
    await create_pods(target, "list", count)

    async def lists(what: str, path: str, lanes: int = 4) -> None:
        request = target.request("GET", path)
        report(
            await measure(
                target,
                f"LIST {what} of {count}",
                fixed(request),
                lanes=lanes,
                seconds=2.0,
                unit="responses/s",
            )
        )

    await lists("all namespaces", "/api/v1/pods")
    await lists("namespace", PODS)
    await lists("label selector (a tenth)", f"{PODS}?labelSelector=tenth%3D3")
    await lists("field selector (none)", f"{PODS}?fieldSelector=spec.nodeName%3Dnowhere")
    await lists("page of 500", f"{PODS}?limit=500")
    await lists("page of 500, resourceVersion=0", f"{PODS}?limit=500&resourceVersion=0")
    await delete_pods(target, (f"list-{i}" for i in range(count)))


async def bench_growth(
    target: Target, report: Report, *, low: int = 100, high: int = 10_000
) -> None:
    """The cost of one operation among few objects and among many: it should not differ."""
    for have, more in ((0, low), (low, high - low)):
        await create_pods(target, f"grow{have}", more)
        total = have + more
        name = f"grow{have}-0"
        operations = {
            "GET": fixed(target.request("GET", f"{PODS}/{name}")),
            "PATCH": _patches(target, name),
            "POST": _posts(target, total),
            "DELETE": _deletes(target, total),
        }
        for what, make in operations.items():
            seconds = READ_S if what == "GET" else 0.0
            report(await measure(target, f"{what} among {total}", make, seconds=seconds))
    await delete_pods(target, [f"grow0-{i}" for i in range(low)])
    await delete_pods(target, [f"grow{low}-{i}" for i in range(high - low)])


def _patches(target: Target, name: str) -> Callable[[int], Iterator[bytes]]:
    # Each to another state of one pod, lane by lane: no conflicts to count.
    return lambda run: (
        target.request(
            "PATCH",
            f"{PODS}/{name.rpartition('-')[0]}-{i % 100}",
            b'{"metadata":{"labels":{"g":"r%d-%d"}}}' % (run, i),
            MERGE,
        )
        for i in range(1000)
    )


def _posts(target: Target, total: int) -> Callable[[int], Iterator[bytes]]:
    return lambda run: (
        target.request("POST", PODS, pod_body(f"among-{total}-{run}-{i}")) for i in range(1000)
    )


def _deletes(target: Target, total: int) -> Callable[[int], Iterator[bytes]]:
    return lambda run: (
        target.request("DELETE", f"{PODS}/among-{total}-{run}-{i}") for i in range(1000)
    )
