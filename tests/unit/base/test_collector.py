"""What the cycle collector does while a process starts and after."""

from __future__ import annotations

import json
import subprocess
import sys

# In a process of its own: it changes the interpreter's settings.
_PROGRAM = """
import gc, json, weakref
from kutter.base.collector import hold_off, settle

class Cycle:
    def __init__(self):
        self.me = self

hold_off()
before = [g["collections"] for g in gc.get_stats()]
kept = [[n] for n in range(100_000)]
starting = [g["collections"] for g in gc.get_stats()] == before
garbage = weakref.ref(Cycle())
alive = garbage() is not None
settle()
print(json.dumps({
    "untouched while starting": starting and alive,
    "garbage gone": garbage() is None,
    "kept is not looked at": gc.get_freeze_count() > 100_000,
    "collects": gc.isenabled() and 0 < gc.get_threshold()[0] <= 50_000,
}))
"""


def test_a_start_is_not_walked_and_afterwards_garbage_goes():
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM], capture_output=True, text=True, check=True, timeout=60
    )
    assert set(json.loads(done.stdout).values()) == {True}
