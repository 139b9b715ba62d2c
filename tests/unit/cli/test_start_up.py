"""Commands start fast because they import little; this keeps it so."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

HEAVY = ("asyncio", "msgspec", "cryptography", "rich", "numpy", "kutter.api.catalog")


@pytest.mark.parametrize("words", [("get", "pods"), ("get", "pods", "-o", "json"), ("version",)])
def test_nothing_heavy_is_imported(cli, words):
    cli.ok("get", "pods")  # discovery is remembered from here on
    code = (
        "import sys; from kutter.cli.main import main; code = main(sys.argv[1:]);"
        f" print([m for m in {HEAVY!r} if m in sys.modules], file=sys.stderr); sys.exit(code)"
    )
    environ = {**os.environ, **cli.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", code, *words],
        env=environ,
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines()[-1] == "[]"
