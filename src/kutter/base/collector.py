"""The garbage collector of a long-running process.

Between a process that has started and Python's cycle collector: what is alive once everything
is up stays alive, so the collector stops walking it; afterwards it runs rarely, because nearly
everything here is freed by reference counts and cycles come from exceptions and tasks only.
"""

from __future__ import annotations

import gc

# Young objects between collections, and how many collections before the older ones are looked
# at. Python's 700/10/10 walked all live objects several times a second under writes.
_THRESHOLDS = (20_000, 20, 50)


def settle() -> None:
    """Call once, when the process has started."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_THRESHOLDS)
