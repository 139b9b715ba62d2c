"""Encryption at rest of one server: its configuration file, followed, and what must be rewritten.

Between the file and :class:`EncryptedStore`. Keys are rotated by editing the file: put the new key
first, and every stored value is written again with it, here, as soon as the file is seen (and at
each start, so that an interruption does no harm). Then the old key may be removed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from kutter.api.resources import Resource
from kutter.apiserver.configuration_file import ConfigurationFile
from kutter.apiserver.encryption.configuration import parse_encryption
from kutter.apiserver.encryption.store import EncryptedStore, Rules, build_rules
from kutter.base.clock import Clock
from kutter.base.log import get_logger
from kutter.store.interface import Store

_log = get_logger("encryption")


class EncryptionAtRest:
    """``store`` is what the server uses; ``run`` until cancelled once it serves."""

    def __init__(self, path: Path, inner: Store, catalog: Callable[[], Iterable[Resource]]) -> None:
        """Raises ConfigurationError."""
        self._file = ConfigurationFile(path)
        self._catalog = catalog
        self.store = EncryptedStore(inner, self._build(self._file.read()))

    def _build(self, content: bytes) -> Rules:
        return build_rules(parse_encryption(content), self._catalog)

    async def run(self, clock: Clock) -> None:
        """Write again what is stale, now and after each change of the file."""
        await self._rewrite()
        await self._file.follow(clock, self._apply)

    async def _apply(self, content: bytes) -> None:
        self.store.rules = self._build(content)
        await self._rewrite()

    async def _rewrite(self) -> None:
        count = await self.store.rewrite_stale()
        if count:
            _log.info("stored values written with the first key", count=count)
