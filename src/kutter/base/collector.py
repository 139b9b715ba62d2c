"""The garbage collector of a long-running process.

Between a process that starts and Python's cycle collector: what a start makes (modules, classes,
tables) stays alive, so the collector does not look at it while it is made, nor afterwards; then it
runs rarely, because nearly everything here is freed by reference counts and cycles come from
exceptions and tasks only.
"""

from __future__ import annotations

import gc

# Young objects between collections, and how many collections before the older ones are looked
# at. Python's 700/10/10 walked all live objects several times a second under writes.
_THRESHOLDS = (20_000, 20, 50)
# More than a start makes; a start that never ends (the server cannot be reached) is collected too.
_STARTING = (500_000, 20, 50)


def hold_off() -> None:
    """Call first thing in a process that will :func:`settle`."""
    gc.set_threshold(*_STARTING)


def settle() -> None:
    """Call once, when the process has started."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_THRESHOLDS)
