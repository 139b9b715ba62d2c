"""``kutter version``: versions of this program and of the Kubernetes API it speaks."""

from __future__ import annotations

import argparse
import platform

import orjson

from kutter import KUBERNETES_VERSION, __version__
from kutter.cli.command import Command


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-o", "--output", choices=("json",), help="print JSON")


def run(parsed: argparse.Namespace) -> int:
    facts = {
        "kutter": f"v{__version__}",
        "kubernetes": KUBERNETES_VERSION,
        "python": platform.python_version(),
    }
    if parsed.output == "json":
        print(orjson.dumps(facts, option=orjson.OPT_INDENT_2).decode())
    else:
        print(f"Kutter {facts['kutter']} (Kubernetes {KUBERNETES_VERSION} API)")
    return 0


COMMAND = Command(
    name="version",
    summary="Print versions",
    configure=configure,
    run=run,
    examples=("kutter version", "kutter version -o json"),
)
