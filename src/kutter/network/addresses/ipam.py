"""Which sandbox has which address of this node's pod range: between the bridge and the disk.

Laws: an address is never handed out twice while taken; a released one is reused last, in order
of release; what was answered survives kill -9. One file per address: ``taken/<address>`` holds
the owner as JSON, a release renames it to ``free/<address>@<number>``, numbers in order.
Nothing is fsynced: after a power cut no sandbox is alive, and ``keep`` then releases them all.
"""

from __future__ import annotations

import ipaddress
import json
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path


class AddressesExhaustedError(Exception):
    """Every address of the node's pod range is taken."""


@dataclass(frozen=True, slots=True)
class Lease:
    """One sandbox's address and the node's ports that lead to it."""

    sandbox_id: str
    address: str
    ports: tuple[tuple[int, int, str, str], ...] = ()


class AddressPool:
    """The addresses of one pod range. Its first address is the gateway's, never leased."""

    def __init__(self, cidr: str, folder: Path) -> None:
        self.network = ipaddress.IPv4Network(cidr)
        if self.network.prefixlen > 30:
            raise ValueError(f"pod range {cidr} is too small")
        self.gateway = str(self.network.network_address + 1)
        self._taken_folder = folder / "taken"
        self._free_folder = folder / "free"
        for part in (self._taken_folder, self._free_folder):
            part.mkdir(parents=True, exist_ok=True)
        self._by_sandbox: dict[str, Lease] = {}
        self._never_used = 2  # host number of the next address that was never leased
        self._used: set[int] = set()
        self._released: deque[str] = deque()
        self._free_files: dict[str, Path] = {}
        self._sequence = 0
        self._load()

    def _load(self) -> None:
        for path in sorted(self._taken_folder.iterdir()):
            lease = _read_lease(path)
            number = self._number(path.name)
            if lease is None or number is None or lease.sandbox_id in self._by_sandbox:
                path.unlink()  # half written, of another range, or a second one for its owner
                continue
            self._by_sandbox[lease.sandbox_id] = lease
            self._used.add(number)
        released = []
        for path in self._free_folder.iterdir():
            address, _, order = path.name.partition("@")
            number = self._number(address)
            if number is None or number in self._used or not order.isdigit():
                path.unlink()
                continue
            released.append((int(order), address))
            self._free_files[address] = path
            self._used.add(number)
        released.sort()
        self._released.extend(address for _, address in released)
        self._sequence = released[-1][0] if released else 0

    def _number(self, name: str) -> int | None:
        try:
            address = ipaddress.IPv4Address(name)
        except ValueError:
            return None
        number = int(address) - int(self.network.network_address)
        return number if 2 <= number < self.network.num_addresses - 1 else None

    def leases(self) -> list[Lease]:
        return list(self._by_sandbox.values())

    def find(self, sandbox_id: str) -> Lease | None:
        return self._by_sandbox.get(sandbox_id)

    def acquire(self, sandbox_id: str, ports: Sequence[tuple[int, int, str, str]] = ()) -> Lease:
        """The sandbox's address: the one it has, or the next. Raises AddressesExhaustedError."""
        held = self._by_sandbox.get(sandbox_id)
        wanted = tuple((a, b, c, d) for a, b, c, d in ports)
        if held is not None and held.ports == wanted:
            return held
        address = held.address if held is not None else self._next()
        lease = Lease(sandbox_id, address, wanted)
        self._write(lease)
        self._by_sandbox[sandbox_id] = lease
        return lease

    def _next(self) -> str:
        while self._never_used < self.network.num_addresses - 1:
            number = self._never_used
            self._never_used += 1
            if number not in self._used:
                self._used.add(number)
                return str(self.network.network_address + number)
        if not self._released:
            raise AddressesExhaustedError(f"all addresses of {self.network} are taken")
        return self._released.popleft()

    def _write(self, lease: Lease) -> None:
        content = {"sandbox": lease.sandbox_id, "ports": lease.ports}
        path = self._taken_folder / lease.address
        fresh = self._taken_folder / f".{lease.address}"
        fresh.write_text(json.dumps(content))
        fresh.rename(path)
        before = self._free_files.pop(lease.address, None)
        if before is not None:
            before.unlink(missing_ok=True)

    def release(self, sandbox_id: str) -> Lease | None:
        """Take the address back; answers what it was, None when there was none."""
        lease = self._by_sandbox.pop(sandbox_id, None)
        if lease is None:
            return None
        path = self._taken_folder / lease.address
        self._sequence += 1
        target = self._free_folder / f"{lease.address}@{self._sequence}"
        path.rename(target)
        self._free_files[lease.address] = target
        self._released.append(lease.address)
        return lease

    def unwanted(self, keep: Iterable[str]) -> list[Lease]:
        """Leases of sandboxes that are not in ``keep``."""
        wanted = set(keep)
        return [lease for lease in self._by_sandbox.values() if lease.sandbox_id not in wanted]

    def purge(self) -> None:
        """Forget everything, on disk too."""
        for folder in (self._taken_folder, self._free_folder):
            for path in folder.iterdir():
                path.unlink()
            folder.rmdir()
        self._by_sandbox.clear()
        self._released.clear()
        self._free_files.clear()


def _read_lease(path: Path) -> Lease | None:
    if path.name.startswith("."):
        return None
    try:
        content = json.loads(path.read_bytes())
        ports = tuple((int(a), int(b), str(c), str(d)) for a, b, c, d in content["ports"])
        return Lease(str(content["sandbox"]), path.name, ports)
    except (ValueError, KeyError, TypeError):
        return None
