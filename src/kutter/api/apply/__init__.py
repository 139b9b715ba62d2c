"""Server-side apply: who owns which field, and how an applied configuration joins an object.

Pure: trees and schema nodes in, trees and owners out. Upstream: sigs.k8s.io/structured-merge-diff
and apimachinery/pkg/util/managedfields, whose behaviour (not code) this package follows. Trees
given in are never changed, sets given out are shared and must not be changed.
"""

from kutter.api.apply.conflicts import Conflict, conflict_error
from kutter.api.apply.owners import (
    ManagedFieldsError,
    Owner,
    OwnerKey,
    Owners,
    is_reset,
    parse_owners,
    read_owners,
    render_owners,
    write_owners,
)
from kutter.api.apply.updater import Applied, Updater, View

__all__ = [
    "Applied",
    "Conflict",
    "ManagedFieldsError",
    "Owner",
    "OwnerKey",
    "Owners",
    "Updater",
    "View",
    "conflict_error",
    "is_reset",
    "parse_owners",
    "read_owners",
    "render_owners",
    "write_owners",
]
