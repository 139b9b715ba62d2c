"""What of the admission plugins can be configured, as they take it.

Read from flags and files by :mod:`kutter.apiserver.admission.configuration`.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from kutter.apiserver.admission.event_rate_limit import EventLimit
from kutter.apiserver.admission.pod_security import PodSecurityOptions
from kutter.apiserver.admission.quota_charges import LimitedResource
from kutter.apiserver.ports import Tree


class AdmissionOptions(msgspec.Struct, frozen=True):
    """``enable`` and ``disable`` change what is on by default."""

    enable: frozenset[str] = frozenset()
    disable: frozenset[str] = frozenset()
    pod_security: PodSecurityOptions = msgspec.field(default_factory=PodSecurityOptions)
    limited: tuple[LimitedResource, ...] = ()
    event_limits: tuple[EventLimit, ...] = ()
    # By namespace; see PodNodeSelector.
    node_selectors: Mapping[str, str] = msgspec.field(default_factory=dict)
    # Those every pod gets, and those pods may have (none: all); see PodTolerationRestriction.
    tolerations: tuple[Tree, ...] = ()
    allowed_tolerations: tuple[Tree, ...] = ()
