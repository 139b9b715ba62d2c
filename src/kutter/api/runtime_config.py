"""Which group-versions are served: upstream's ``--runtime-config``.

Between the text of the setting and the catalog. Laws: what is not asked for is not there, in no
answer; what a server of this kind does not have is refused, as is turning off what everything else
here builds on.
Upstream: kubernetes.io/docs/reference/command-line-tools-reference/kube-apiserver/
"""

from __future__ import annotations

from kutter.api.catalog import BUILTIN, OPTIONAL, split_api_version
from kutter.api.resources import Resource

_ALL = {"api/all", "api/beta"}
_NOTHING = {"api/alpha"}
_USUAL = {"api/ga", "api/legacy"}
_SWITCHES = {"": True, "true": True, "false": False}


def served_resources(text: str) -> tuple[Resource, ...]:
    """The resources to serve. Raises ValueError, which says what is wrong with ``text``."""
    known = sorted({resource.api_version for resource in OPTIONAL})
    usual = {resource.api_version for resource in BUILTIN} | _USUAL
    whole, single = False, dict[str, bool]()
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, _, switch = part.partition("=")
        on = _SWITCHES.get(switch)
        if on is None:
            raise ValueError(f"--runtime-config: {name} is {switch!r}, expected true or false")
        if name in known:
            single[name] = on
        elif name in _ALL:
            if name == "api/all" and not on:
                raise ValueError("--runtime-config: api/all cannot be turned off")
            whole = on
        elif name in usual:
            if not on:
                raise ValueError(f"--runtime-config: {name} is always served")
        elif name not in _NOTHING:
            raise ValueError(
                f"--runtime-config: unknown {name!r}; to be turned on: {', '.join(known)}, api/beta"
            )
    wanted = {split_api_version(name) for name in known if single.get(name, whole)}
    return (*BUILTIN, *(r for r in OPTIONAL if (r.group, r.version) in wanted))
