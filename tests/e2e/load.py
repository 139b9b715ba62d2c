"""Constant HTTP load from several threads, each request on a connection of its own."""

from __future__ import annotations

import http.client
import threading
import time
from collections import Counter
from types import TracebackType


class HttpLoad:
    """``with HttpLoad(host, port) as load:`` asks until the block ends."""

    def __init__(self, host: str, port: int, *, threads: int = 4, pause_s: float = 0.005) -> None:
        self._host, self._port, self._pause_s = host, port, pause_s
        self.bodies: Counter[str] = Counter()
        self.failures: list[str] = []
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._ask) for _ in range(threads)]
        self._started_s = time.monotonic()

    def __enter__(self) -> HttpLoad:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _ask(self) -> None:
        while not self._stop.is_set():
            connection = http.client.HTTPConnection(self._host, self._port, timeout=3)
            try:
                connection.request("GET", "/")
                answer = connection.getresponse()
                body = answer.read().decode()
                if answer.status == 200 and body:
                    self.bodies[body.strip()] += 1
                else:
                    self.failures.append(f"status {answer.status}, {len(body)} bytes")
            except (OSError, http.client.HTTPException) as error:
                at_s = time.monotonic() - self._started_s
                self.failures.append(f"{at_s:.3f}: {type(error).__name__}: {error}")
            finally:
                connection.close()
            self._stop.wait(self._pause_s)
