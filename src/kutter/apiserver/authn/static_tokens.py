"""Bearer tokens of a file: ``token,user,uid,"group1,group2"`` in each line.

Read once, at the start, as upstream's ``--token-auth-file``. Tokens are kept as digests.
https://kubernetes.io/docs/reference/access-authn-authz/authentication/#static-token-file
"""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Sequence
from pathlib import Path

from kutter.apiserver.authn.identity import User
from kutter.apiserver.authn.service_accounts import Verified
from kutter.apiserver.configuration_file import ConfigurationError, ConfigurationFile


class StaticTokens:
    """A kind of bearer token. Raises ConfigurationError for a file that is none."""

    def __init__(self, path: Path, *, audiences: Sequence[str]) -> None:
        self._audiences = tuple(audiences)
        self._users: dict[bytes, User] = {}
        text = ConfigurationFile(path).read().decode("utf-8", "replace")
        for number, record in enumerate(csv.reader(text.splitlines(), skipinitialspace=True), 1):
            if not record or record[0].startswith("#"):
                continue
            if len(record) < 3:
                raise ConfigurationError(
                    f"token file {path} must have at least 3 columns (token, user name, user uid),"
                    f" found {len(record)} in line {number}"
                )
            token, name, uid, *more = record
            if not token or not name:
                raise ConfigurationError(f"token file {path}: line {number} lacks token or user")
            groups = tuple(g for g in more[0].split(",") if g) if more else ()
            self._users[hashlib.sha256(token.encode()).digest()] = User(name, uid, groups)

    def verify(self, token: str, audiences: Sequence[str] = ()) -> Verified | None:
        """None for a token that is not in the file."""
        user = self._users.get(hashlib.sha256(token.encode()).digest())
        shared = tuple(a for a in (audiences or self._audiences) if a in self._audiences)
        return Verified(user, shared, None, ()) if user is not None and shared else None
