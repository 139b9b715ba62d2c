"""/livez, /readyz and /healthz: whether the server lives, is ready, and why not.

Upstream: https://kubernetes.io/docs/reference/using-api/health-checks/
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from kutter.apiserver.encryption.store import EncryptedStore
from kutter.base.metrics import Counter, Gauge, Registry
from kutter.http.messages import Request, Response

if TYPE_CHECKING:
    from kutter.apiserver.server import ApiServer

Check = Callable[[], str]
"""Empty when well, else the reason for the log and the verbose answer."""

_TEXT = ("Content-Type", "text/plain; charset=utf-8")
_NO_SNIFF = ("X-Content-Type-Options", "nosniff")


class Health:
    """Named checks, grouped by endpoint. Others may add theirs with :meth:`add`."""

    def __init__(self, server: ApiServer) -> None:
        self.started = False
        self.stopping = False
        self._checks: dict[str, dict[str, Check]] = {
            "livez": {"ping": _well, "log": _well, "etcd": self._check_store},
            "readyz": {
                "ping": _well,
                "log": _well,
                "etcd": self._check_store,
                "informer-sync": self._check_started,
                "shutdown": self._check_stopping,
            },
            "healthz": {"ping": _well, "log": _well, "etcd": self._check_store},
        }
        # What componentstatuses tells; whoever starts a part replaces its check.
        self.components: dict[str, Check] = {
            "controller-manager": _absent,
            "etcd-0": self._check_store,
            "scheduler": _absent,
        }
        self._server = server
        # What service levels are computed from, told apart from all other metrics.
        self.indicators = Registry()
        self._last = self.indicators.add(
            Gauge(
                "kubernetes_healthcheck",
                "This metric records the result of a single healthcheck.",
                ("name", "type"),
            )
        )
        self._runs = self.indicators.add(
            Counter(
                "kubernetes_healthchecks_total",
                "This metric records the results of all healthcheck.",
                ("name", "status", "type"),
            )
        )

    def add(self, name: str, check: Check, endpoints: tuple[str, ...] = ("readyz",)) -> None:
        """Another check, e.g. ``poststarthook/rbac/bootstrap-roles``."""
        for endpoint in endpoints:
            self._checks[endpoint][name] = check

    def paths(self) -> list[str]:
        """Every path answered here."""
        found = []
        for endpoint, checks in self._checks.items():
            found.append(f"/{endpoint}")
            found += [f"/{endpoint}/{name}" for name in checks]
        return found

    def answer(self, request: Request, path: str) -> Response | None:
        """The answer to a health path, None for other paths."""
        endpoint, _, name = path[1:].partition("/")
        checks = self._checks.get(endpoint)
        if checks is None:
            return None
        if name:
            check = checks.get(name)
            if check is None:
                return None
            reason = self._run(endpoint, name, check)
            if reason:
                text = f"internal server error: {reason}\n"
                return Response(500, [_TEXT, _NO_SNIFF], text.encode())
            return Response(200, [_TEXT], b"ok")
        excluded = {part for value in request.params("exclude") for part in value.split(",")}
        found = {
            name: "" if name in excluded else self._run(endpoint, name, check)
            for name, check in checks.items()
        }
        return _render(endpoint, found, excluded, verbose="verbose" in dict(request.query))

    def _run(self, endpoint: str, name: str, check: Check) -> str:
        """Why a check fails, "" when it does not; both are remembered for ``/metrics/slis``."""
        reason = check()
        self._last.set(0 if reason else 1, name, endpoint)
        self._runs.inc(name, "error" if reason else "success", endpoint)
        return reason

    def _check_store(self) -> str:
        store = self._server.store
        if store.revision <= 0:
            return "the store is not open"
        return store.problem if isinstance(store, EncryptedStore) else ""

    def _check_started(self) -> str:
        return "" if self.started else "the read cache is being filled"

    def _check_stopping(self) -> str:
        return "process is shutting down" if self.stopping else ""


def _well() -> str:
    return ""


def _absent() -> str:
    return "it does not run in this server"


def _render(
    endpoint: str, reasons: dict[str, str], excluded: set[str], *, verbose: bool
) -> Response:
    lines, failed = [], False
    for name, reason in reasons.items():
        if name in excluded:
            lines.append(f"[+]{name} excluded: ok")
            excluded.discard(name)
        elif reason:
            failed = True
            lines.append(f"[-]{name} failed: reason withheld")
        else:
            lines.append(f"[+]{name} ok")
    if excluded - {""}:
        listed = ", ".join(f'"{name}"' for name in sorted(excluded - {""}))
        lines.append(f"warn: some health checks cannot be excluded: no matches for {listed}")
    headers = [_TEXT, _NO_SNIFF]
    if failed:
        text = "\n".join([*lines, f"{endpoint} check failed"]) + "\n"
        return Response(500, headers, text.encode())
    if not verbose:
        return Response(200, headers, b"ok")
    return Response(200, headers, ("\n".join([*lines, f"{endpoint} check passed"]) + "\n").encode())
