"""``python -m tests.fuzz --minutes 60 --seed x``: fuzz a cluster and print what was found."""

from __future__ import annotations

import argparse
import sys
import time

from tests.fuzz.runner import Fuzzer, until

from kutter.testing.cluster import LocalCluster


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0, help="how long (default 60)")
    parser.add_argument("--seed", default=str(time.time_ns()), help="repeats a run")
    options = parser.parse_args()
    say(f"seed {options.seed}")
    with LocalCluster(nodes=2) as cluster:
        fuzzer = Fuzzer(cluster, options.seed)
        seconds = options.minutes * 60
        report = cluster.run(fuzzer.run(until(time.monotonic() + seconds)), timeout_s=seconds + 120)
    say(f"{report.sent} requests, by status: {dict(sorted(report.statuses.items()))}")
    say("memory after each sweep, MiB: " + " ".join(f"{m:.0f}" for m in report.memory_mib))
    for finding in report.findings.values():
        request = finding.request
        say(f"\n=== {finding.signature}\n{request.method} {request.target} {request.headers}")
        say(f"body {request.body[:3000]!r}\n{finding.detail[-3000:]}")
    say(f"{len(report.findings)} findings")
    return 1 if report.findings else 0


if __name__ == "__main__":
    sys.exit(main())
