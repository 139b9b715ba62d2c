"""Figures as a table for people and as JSON for machines; ratios when there are two targets."""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.aims import AIMS, judge
from bench.measure import Figure, load_average

_HEAD = ("what", "median", "unit", "low..high", "p50 ms", "p99 ms", "CPU us/op", "runs")
_LAST = "  upstream       aim"


def print_row(figure: Figure) -> None:
    """One line, as soon as it is known."""
    print(_row(_cells(figure), _beside(figure)), flush=True)


def print_head(title: str) -> None:
    print(f"\n{title}\n{_row(_HEAD, _LAST)}", flush=True)


def _beside(figure: Figure) -> str:
    upstream, aim, met = judge(figure)
    if upstream is None and aim is None:
        return ""
    verdict = "" if met is None else ("  met" if met else "  NOT MET")
    return f"{_number(upstream):>10}{_number(aim):>10}{verdict}"


def print_aims(figures: Sequence[Figure], *, all_of_them: bool) -> None:
    """All aims together, ours beside upstream's; of a whole run also those without a figure."""
    by_name = {figure.what: figure for figure in figures}
    print(f"\n{'aims':<44}{'ours':>12}{'upstream':>12}{'ratio':>9}{'aim':>10}")
    for what, aim in AIMS.items():
        figure = by_name.get(what)
        if figure is None:
            if all_of_them:
                print(f"{what:<44}{'not measured':>12}")
            continue
        met = judge(figure)[2]
        ratio = f"{figure.value / aim.upstream:.2f}" if aim.upstream else ""
        verdict = "" if met is None else ("met" if met else "NOT MET")
        print(
            f"{what:<44}{_number(figure.value):>12}{_number(aim.upstream):>12}{ratio:>9}"
            f"{_number(aim.aim):>10}  {figure.unit:<12} {verdict}"
        )


def _row(cells: Sequence[str], last: str = "") -> str:
    what, *rest = cells
    widths = (12, 11, 19, 9, 9, 10, 5)
    padded = "".join(f"{c:>{w}}" for c, w in zip(rest, widths, strict=True))
    return f"{what:<44}{padded}  {last}".rstrip()


def _cells(figure: Figure) -> tuple[str, ...]:
    spread = ""
    if figure.low is not None and figure.high is not None and figure.runs > 1:
        spread = f"{_number(figure.low)}..{_number(figure.high)}"
    what = figure.what + (f" ({figure.failed} failed)" if figure.failed else "")
    return (
        what,
        _number(figure.value),
        figure.unit,
        spread,
        _number(figure.p50_ms),
        _number(figure.p99_ms),
        _number(figure.cpu_us),
        str(figure.runs),
    )


def _number(value: float | None) -> str:
    if value is None:
        return ""
    if value >= 1000:
        return f"{value:,.0f}".replace(",", " ")
    return f"{value:.0f}" if value >= 100 else f"{value:.2f}"


def machine() -> dict[str, Any]:
    """Where it was measured, and how busy that was."""
    return {
        "cpus": os.cpu_count(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "load1": load_average(),
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def write_json(path: Path, results: dict[str, list[Figure]], before: dict[str, Any]) -> None:
    tree = {
        "machine": {"before": before, "after": machine()},
        "targets": {name: [_tree(f) for f in figures] for name, figures in results.items()},
    }
    path.write_text(json.dumps(tree, indent=1) + "\n")


def _tree(figure: Figure) -> dict[str, Any]:
    upstream, aim, met = judge(figure)
    return {**figure.as_tree(), "upstream": upstream, "aim": aim, "met": met}


def print_ratios(results: dict[str, list[Figure]]) -> None:
    """The first target against the second, line by line."""
    (first, ours), (second, theirs) = list(results.items())[:2]
    print(f"\n{first} / {second} (throughput: more is better; ms, s, MB: less is better)")
    by_name = {figure.what: figure for figure in theirs}
    for figure in ours:
        other = by_name.get(figure.what)
        if other is not None and other.value:
            ratio = f"{figure.value / other.value:8.2f}"
            print(f"{figure.what:<44}{_number(figure.value):>12}{_number(other.value):>12}{ratio}")
