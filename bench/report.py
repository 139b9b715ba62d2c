"""Figures as a table for people and as JSON for machines; ratios when there are two targets."""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.measure import Figure, load_average

_HEAD = ("what", "median", "unit", "low..high", "p50 ms", "p99 ms", "CPU us/op", "runs")


def print_row(figure: Figure, reference: Figure | None = None) -> None:
    """One line, as soon as it is known."""
    print(_row(_cells(figure), reference_text(figure, reference)), flush=True)


def print_head(title: str) -> None:
    print(f"\n{title}\n{_row(_HEAD)}", flush=True)


def reference_text(figure: Figure, reference: Figure | None) -> str:
    if reference is None or not reference.value:
        return ""
    return f"{figure.value / reference.value:.2f}x"


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
        "targets": {name: [f.as_tree() for f in figures] for name, figures in results.items()},
    }
    path.write_text(json.dumps(tree, indent=1) + "\n")


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
