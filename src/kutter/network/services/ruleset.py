"""A table of packet rules as a value, and the scripts that make the kernel hold it; pure.

Two scripts: :func:`render_full` replaces the table whatever was there, :func:`render_change`
touches only chains and elements that differ. Each is one transaction of ``nft``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

_ELEMENTS_PER_COMMAND = 500


@dataclass(frozen=True, slots=True)
class Ruleset:
    """One table. ``chains`` may name a hook in ``hooks``; ``maps`` hold key → value text.

    A map's declaration is in ``declarations``; a value "" makes the element one of a set. Names
    in ``declarations`` without ``maps`` are dynamic sets, filled by packets.
    """

    table: str
    chains: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    hooks: Mapping[str, str] = field(default_factory=dict)
    declarations: Mapping[str, str] = field(default_factory=dict)
    maps: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


def _declare(rules: Ruleset, name: str) -> str:
    return f"add {rules.declarations[name].format(name=f'inet {rules.table} {name}')}"


def _add_chain(rules: Ruleset, name: str) -> str:
    hook = rules.hooks.get(name)
    suffix = f" {{ {hook}; }}" if hook else ""
    return f"add chain inet {rules.table} {name}{suffix}"


def _fill_chain(rules: Ruleset, name: str) -> Iterable[str]:
    head = f"add rule inet {rules.table} {name} "
    return [head + rule for rule in rules.chains[name]]


def _elements(verb: str, rules: Ruleset, name: str, elements: Mapping[str, str]) -> list[str]:
    items = [f"{k} : {v}" if v and verb == "add" else k for k, v in elements.items()]
    return [
        f"{verb} element inet {rules.table} {name} "
        f"{{ {', '.join(items[start : start + _ELEMENTS_PER_COMMAND])} }}"
        for start in range(0, len(items), _ELEMENTS_PER_COMMAND)
    ]


def render_full(rules: Ruleset) -> str:
    """Replace the table in one transaction."""
    table = rules.table
    lines = [f"add table inet {table}", f"delete table inet {table}", f"add table inet {table}"]
    lines += [_declare(rules, name) for name in rules.declarations]
    lines += [_add_chain(rules, name) for name in rules.chains]
    for name in rules.chains:
        lines += _fill_chain(rules, name)
    for name, elements in rules.maps.items():
        lines += _elements("add", rules, name, elements)
    return "\n".join(lines) + "\n"


def render_change(old: Ruleset, new: Ruleset) -> str:
    """From ``old`` to ``new``; empty when they are equal.

    Order matters to the kernel: what is referred to is made before and removed after.
    """
    table = new.table
    lines = [_declare(new, n) for n in new.declarations if n not in old.declarations]
    fresh = [n for n in new.chains if n not in old.chains]
    changed = [n for n, rules in new.chains.items() if n in old.chains and old.chains[n] != rules]
    gone = [n for n in old.chains if n not in new.chains]
    lines += [_add_chain(new, n) for n in fresh]
    for name, elements in old.maps.items():
        target = new.maps.get(name, {})
        stale = {k: v for k, v in elements.items() if target.get(k) != v}
        lines += _elements("delete", new, name, stale)
    lines += [f"flush chain inet {table} {n}" for n in (*changed, *gone)]
    for name in (*fresh, *changed):
        lines += _fill_chain(new, name)
    for name, elements in new.maps.items():
        held = old.maps.get(name, {})
        lines += _elements(
            "add", new, name, {k: v for k, v in elements.items() if held.get(k) != v}
        )
    lines += [f"delete chain inet {table} {n}" for n in gone]
    lines += [f"delete set inet {table} {n}" for n in old.declarations if n not in new.declarations]
    return "\n".join(lines) + "\n" if lines else ""
