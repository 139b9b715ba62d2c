"""New objects that can be foretold: what the pipeline makes of a body it has seen before.

Between a create's body and the store. The pods of one owner are asked for in the same words but for
a name; the pipeline decodes, defaults, admits, validates and encodes each of them to the same bytes
but for that name, a uid, the time, and the name admission gives the token's volume. A *pattern* is
those bytes with holes. Laws, in the order they make it safe:

* The decision may depend on nothing but the words, the caller, the place, and what was read: the
  kind says so of itself (``Strategy.foretells``), each admission plug-in of itself
  (``Plugin.repeatable``), and whoever does something that has to be done for each says so of the
  request (``AdmissionRequest.once``).
* What was read is recorded; a pattern counts only while all of it is as it was.
* A pattern is made of an object that went the plain way, and believed only after it has foretold
  another one, of another name, to the byte.
* An audited request, a dry run, and whatever somebody was warned of go the plain way always.
* What is remembered is bounded in number and size; words that come once cost one look.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import msgspec
import orjson

from kutter.apiserver.recorded_reads import RecordedReads
from kutter.base.rng import Rng

if TYPE_CHECKING:
    from kutter.apiserver.caches import Caches

LIMIT = 256
SIZE_LIMIT_BYTES = 16 << 10
_SEEN_LIMIT = 4096
_TOKEN_VOLUME = b"kube-api-access-"
_TOKEN_SUFFIX = 5
_NAME = re.compile(rb'"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"')
_HOLE = b"\0"  # never part of a JSON text


class _Meta(msgspec.Struct):
    name: msgspec.Raw = msgspec.Raw()
    generateName: msgspec.Raw = msgspec.Raw()  # noqa: N815


class _Named(msgspec.Struct):
    metadata: _Meta


_decoder = msgspec.json.Decoder(_Named)


class Filling(msgspec.Struct, frozen=True):
    """What is one object's own. All but ``token`` with their quotes; ``token`` may be empty."""

    name: bytes
    uid: bytes
    time: bytes
    token: bytes


def filling_of(metadata: dict[str, Any], value: bytes) -> Filling:
    """What an object that went the plain way has for itself."""
    at = value.find(_TOKEN_VOLUME)
    end = at + len(_TOKEN_VOLUME) + _TOKEN_SUFFIX
    return Filling(
        orjson.dumps(metadata["name"]),
        orjson.dumps(metadata["uid"]),
        orjson.dumps(metadata["creationTimestamp"]),
        value[at:end] if at >= 0 else b"",
    )


def is_plain_name(quoted: bytes) -> bool:
    """A label of DNS, which nobody refuses or warns of."""
    return _NAME.fullmatch(quoted) is not None


def new_token_volume(rng: Rng) -> bytes:
    return _TOKEN_VOLUME + rng.suffix(_TOKEN_SUFFIX).encode()


class Pattern:
    """The stored bytes of an object, with holes."""

    __slots__ = ("_owners", "_value", "believed", "has_token", "name", "permit", "reads")

    def __init__(
        self,
        value: list[bytes | int],
        owners: list[bytes | int],
        filling: Filling,
        *,
        reads: RecordedReads,
        permit: object,
    ) -> None:
        self._value = value
        self._owners = owners
        self.name = filling.name
        self.has_token = bool(filling.token)
        self.reads = reads
        self.permit = permit
        self.believed = False

    def fill(self, filling: Filling) -> tuple[bytes, bytes]:
        """An object's stored value, and the owners in it."""
        own = (filling.name, filling.uid, filling.time, filling.token)
        value = [own[part] if type(part) is int else part for part in self._value]
        owners = [own[part] if type(part) is int else part for part in self._owners]
        return b"".join(value), b"".join(owners)  # type: ignore[arg-type]


def make_pattern(
    body: bytes,
    value: bytes,
    owners: bytes,
    filling: Filling,
    *,
    reads: RecordedReads,
    permit: object,
) -> Pattern | None:
    """The pattern of one object; None when what is its own cannot be told from the rest."""
    own = (filling.name, filling.uid, filling.time, filling.token)
    times = 1 + owners.count(filling.time)
    if value.count(filling.name) != 1 or value.count(filling.uid) != 1:
        return None
    if body.count(filling.name) > 1:
        return None
    if value.count(filling.time) != times or any(text in body for text in own[1:] if text):
        return None
    if value.count(_TOKEN_VOLUME) != (value.count(filling.token) if filling.token else 0):
        return None
    holes = [text for text in own if text]
    split = re.compile(b"(" + b"|".join(map(re.escape, holes)) + b")")

    def parts(text: bytes) -> list[bytes | int]:
        return [own.index(part) if part in own else part for part in split.split(text) if part]

    return Pattern(parts(value), parts(owners), filling, reads=reads, permit=permit)


class Forecast:
    """What is known of one body. ``pattern`` is None until it may be used."""

    __slots__ = (
        "_forecasts",
        "_held",
        "_permit",
        "base",
        "body",
        "key",
        "name",
        "pattern",
        "reads",
    )

    def __init__(
        self,
        forecasts: Forecasts,
        key: Any,
        body: bytes,
        held: Pattern | None,
        *,
        name: str,
        base: str,
    ) -> None:
        self._forecasts = forecasts
        self._held = held
        self.key = key
        self.body = body
        self.name = name
        """The object's name; empty when it is made up from ``base``."""
        self.base = base
        self.pattern = held if held is not None and held.believed else None
        self.reads: RecordedReads | None = None
        self._permit: object | None = None

    def holds(self, permit: object) -> bool:
        """Whether the pattern says what the plain way would come to now.

        ``permit``: what admission says of itself. If not, the plain way is recorded.
        """
        pattern = self.pattern
        if pattern is not None and pattern.permit is permit and pattern.reads.unchanged():
            return True
        self.pattern = None
        if permit is not None:
            self.reads, self._permit = self._forecasts.record(), permit
        return False

    def learn(self, metadata: dict[str, Any], value: bytes, owners: bytes) -> None:
        """Take in what the plain way came to."""
        reads, permit = self.reads, self._permit
        assert reads is not None, "asked whether it holds first"
        filling = filling_of(metadata, value)
        held = self._held
        if held is not None and held.name != filling.name and held.fill(filling) == (value, owners):
            held.believed, held.reads, held.permit = True, reads, permit
            return
        made = make_pattern(self.body, value, owners, filling, reads=reads, permit=permit)
        self._forecasts.keep(self.key, made)


class Forecasts:
    """The patterns of one resource."""

    def __init__(self, caches: Caches, limit: int = LIMIT) -> None:
        self._caches = caches
        self._limit = limit
        self._patterns: dict[Any, Pattern] = {}
        self._seen: set[int] = set()

    def __len__(self) -> int:
        return len(self._patterns)

    def record(self) -> RecordedReads:
        return RecordedReads(self._caches)

    def keep(self, key: Any, pattern: Pattern | None) -> None:
        self._patterns.pop(key, None)
        if pattern is not None:
            if len(self._patterns) >= self._limit:
                self._patterns.clear()
            self._patterns[key] = pattern

    def of(self, body: bytes, circumstances: tuple[Any, ...]) -> Forecast | None:
        """What is known of a body that came in ``circumstances``: by whom, where, how.

        None when it is better looked at the plain way: it came for the first time, or its name
        cannot be told from the rest.
        """
        if len(body) > SIZE_LIMIT_BYTES:
            return None
        try:
            metadata = _decoder.decode(body).metadata
        except msgspec.DecodeError:
            return None
        name, base = bytes(metadata.name), ""
        words = body
        if name:
            if not _NAME.fullmatch(name) or body.count(name) != 1:
                return None
            if metadata.generateName:
                return None  # both: what is said of a taken name depends on whether they agree
            words = body.replace(name, _HOLE)
        else:
            try:
                base = msgspec.json.decode(metadata.generateName, type=str)
            except msgspec.DecodeError:
                return None
        key = (words, *circumstances)
        held = self._patterns.get(key)
        if held is None:
            known = hash(key)
            if known not in self._seen:
                if len(self._seen) >= _SEEN_LIMIT:
                    self._seen.clear()
                self._seen.add(known)
                return None
        return Forecast(self, key, body, held, name=name[1:-1].decode(), base=base)
