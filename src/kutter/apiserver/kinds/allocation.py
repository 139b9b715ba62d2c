"""Which cluster addresses and node ports are taken, and which to hand out next.

Between the service kind and its ranges. In memory, rebuilt from what is stored and kept right by
its changes. Laws: an address has one owner, whichever of the ranges that contain it handed it
out; what ``take`` answers is held until ``release``; a range is searched from a random place, its
upper part first, so that the lower part stays free for addresses asked for by hand (KEP-3070,
KEP-3668). All methods are synchronous: no race within one server.
"""

from __future__ import annotations

import ipaddress

from kutter.base.rng import SYSTEM_RNG, Rng

TAKEN_ADDRESS = "provided IP is already allocated"
TAKEN_PORT = "provided port is already allocated"
NO_RANGE = "the provided network does not match the current range"
FULL = "range is full"

Owners = dict[int, str]
"""Who has which number."""


class AllocationError(Exception):
    """The address or port cannot be had; the text is upstream's."""


class _Range:
    """``size`` numbers from ``first``, the lowest ``static`` of them kept for explicit use."""

    def __init__(self, first: int, size: int, static: int, owners: Owners, rng: Rng) -> None:
        self.first, self.size, self.static = first, size, static
        self._owners = owners
        self._rng = rng

    def __contains__(self, number: int) -> bool:
        return self.first <= number < self.first + self.size

    def owner(self, number: int) -> str | None:
        return self._owners.get(number)

    def hold(self, number: int, owner: str) -> bool:
        """Note an owner; False if another one has it."""
        return self._owners.setdefault(number, owner) == owner

    def release(self, number: int, owner: str) -> None:
        if self._owners.get(number) == owner:
            del self._owners[number]

    def next_free(self) -> int | None:
        """A free number: from the upper part, or the lower one when that is full."""
        for low, high in ((self.static, self.size), (0, self.static)):
            count = high - low
            if count <= 0:
                continue
            start = self._rng.choice_index(count)
            for step in range(count):
                number = self.first + low + (start + step) % count
                if number not in self._owners:
                    return number
        return None

    @property
    def used(self) -> int:
        return sum(1 for number in self._owners if number in self)


class AddressRange:
    """A range of cluster addresses; network and broadcast address excluded.

    Ranges may overlap: those of one family share their ``owners``. One that is not ``ready``
    hands nothing out.
    """

    def __init__(self, cidr: str, owners: Owners | None = None, rng: Rng | None = None) -> None:
        self.ready = True
        self.network = ipaddress.ip_network(cidr, strict=False)
        self.family = "IPv4" if self.network.version == 4 else "IPv6"
        # The last address is IPv4's broadcast; IPv6 has none.
        kept = 2 if self.network.version == 4 else 1
        size = max(self.network.num_addresses - kept, 0)
        static = 0 if size < 16 else min(max(16, size // 16), 256)
        first = int(self.network.network_address) + 1
        owners = {} if owners is None else owners
        self._range = _Range(first, size, static, owners, rng or SYSTEM_RNG)

    def __contains__(self, address: str) -> bool:
        """Whether it lies in the network, also one of the two that are never handed out."""
        return ipaddress.ip_address(address) in self.network

    def take(self, owner: str) -> str:
        """A free address, held for ``owner``."""
        number = self._range.next_free()
        if number is None:
            raise AllocationError(FULL)
        self._range.hold(number, owner)
        return str(self._text(number))

    def take_exactly(self, address: str, owner: str) -> None:
        parsed = ipaddress.ip_address(address)
        if parsed.version != self.network.version or int(parsed) not in self._range:
            raise AllocationError(
                f"the provided IP ({address}) is not in the valid range. "
                f"The range of valid IPs is {self.network}"
            )
        if not self._range.hold(int(parsed), owner):
            raise AllocationError(TAKEN_ADDRESS)

    @property
    def used(self) -> int:
        return self._range.used

    def _text(self, number: int) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
        if self.network.version == 4:
            return ipaddress.IPv4Address(number)
        return ipaddress.IPv6Address(number)


class PortRange:
    """A range of node ports, ``30000-32767``; one owner per number, whatever the protocol."""

    def __init__(self, text: str, rng: Rng | None = None) -> None:
        low, _, high = text.partition("-")
        self.text = text
        size = int(high) - int(low) + 1
        static = 0 if size < 16 else min(max(16, size // 32), 128)
        self._range = _Range(int(low), size, static, {}, rng or SYSTEM_RNG)

    def take(self, owner: str) -> int:
        number = self._range.next_free()
        if number is None:
            raise AllocationError(FULL)
        self._range.hold(number, owner)
        return number

    def take_exactly(self, port: int, owner: str) -> None:
        if port not in self._range:
            raise AllocationError(
                f"provided port is not in the valid range. The range of valid ports is {self.text}"
            )
        if not self._range.hold(port, owner):
            raise AllocationError(TAKEN_PORT)

    def hold(self, port: int, owner: str) -> None:
        if port in self._range:
            self._range.hold(port, owner)

    def release(self, port: int, owner: str) -> None:
        self._range.release(port, owner)

    def owner(self, port: int) -> str | None:
        return self._range.owner(port)

    @property
    def used(self) -> int:
        return self._range.used
