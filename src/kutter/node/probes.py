"""Startup, liveness and readiness probes: the state machine of one probe. Pure.

https://kubernetes.io/docs/concepts/configuration/liveness-readiness-startup-probes/
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from kutter.api.types.core_v1 import Container, Probe

KINDS = ("startup", "liveness", "readiness")


class Outcome(Enum):
    """What one probing found."""

    SUCCESS = "success"
    FAILURE = "failure"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class ProbeState:
    """One probe's memory: the verdict in force and how often the last outcome came in a row."""

    verdict: bool
    last: Outcome | None = None
    streak: int = 0


def initial_state(kind: str) -> ProbeState:
    """Readiness and startup start as failing, liveness as passing."""
    return ProbeState(verdict=kind == "liveness")


def observe(state: ProbeState, outcome: Outcome, probe: Probe) -> ProbeState:
    """The state after one more outcome; an unknown one changes nothing."""
    if outcome is Outcome.UNKNOWN:
        return state
    streak = state.streak + 1 if outcome is state.last else 1
    needed = (
        (probe.success_threshold or 1)
        if outcome is Outcome.SUCCESS
        else (probe.failure_threshold or 3)
    )
    verdict = outcome is Outcome.SUCCESS if streak >= needed else state.verdict
    return ProbeState(verdict, outcome, min(streak, needed))


def probe_of(spec: object, kind: str) -> Probe | None:
    """A container's probe of a kind."""
    found = getattr(spec, f"{kind}_probe", None)
    return found if isinstance(found, Probe) else None


def first_delay_s(probe: Probe, ran_s: float, spread: float) -> float:
    """How long after now the first probing comes.

    ``ran_s`` is how long the container runs; ``spread`` (0 to 1) keeps the probes of adopted
    containers from coming all at once.
    """
    wait = float(probe.initial_delay_seconds) - ran_s
    if wait > 0:
        return wait
    return spread * (probe.period_seconds or 10) if ran_s > 10 else 0.0


def resolve_port(port: int | str, spec: Container) -> int:
    """A port by number or by the name of a container port. Raises ValueError."""
    if isinstance(port, int):
        number = port
    elif port.isdigit():
        number = int(port)
    else:
        named = next((p.container_port for p in spec.ports if p.name == port), None)
        if named is None:
            raise ValueError(f"couldn't find port: {port!r}")
        number = named
    if not 0 < number < 65536:
        raise ValueError(f"invalid port number: {number}")
    return number
