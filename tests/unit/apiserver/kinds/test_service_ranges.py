"""Ranges that come and go, overlap, and share who has what."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.apiserver.fake_reader import FakeReader

from kutter.apiserver.kinds.allocation import AddressRange, AllocationError
from kutter.apiserver.kinds.service_ranges import (
    IP_ADDRESSES,
    SERVICE_CIDRS,
    Attempt,
    ServiceRanges,
)


def ranges(reader: FakeReader) -> ServiceRanges:
    made = ServiceRanges(("10.43.0.0/16",), "30000-32767")
    made.follow(reader)
    return made


def service_cidr(name: str, *cidrs: str, **more: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": name, **more.pop("metadata", {})},
        "spec": {"cidrs": [*cidrs]},
        **more,
    }


def ip_address(name: str, service: str) -> dict[str, Any]:
    reference = {"resource": "services", "namespace": "blue", "name": service}
    return {"metadata": {"name": name}, "spec": {"parentRef": reference}}


class Contested:
    """IPAddress objects of which some are somebody else's already."""

    def __init__(self, *taken: str) -> None:
        self.owners = dict.fromkeys(taken, "other/one")
        self.removed: list[str] = []

    async def create(self, address: str, family: str, owner: str) -> bool:
        return self.owners.setdefault(address, owner) == owner

    async def remove(self, address: str, owner: str) -> None:
        if self.owners.get(address) == owner:
            del self.owners[address]
            self.removed.append(address)


async def test_ranges_follow_their_objects() -> None:
    reader = FakeReader()
    found = ranges(reader)
    assert [str(r.network) for r in found.addresses] == ["10.43.0.0/16"]
    reader.put(SERVICE_CIDRS, service_cidr("kubernetes", "10.43.0.0/16"))
    reader.put(SERVICE_CIDRS, service_cidr("more", "10.50.0.0/24"))
    attempt = Attempt(found, "blue/web")
    assert await attempt.address("IPv4", "10.50.0.7") == "10.50.0.7"
    going = {"deletionTimestamp": "2026-01-01T00:00:00Z"}
    reader.put(SERVICE_CIDRS, service_cidr("more", "10.50.0.0/24", metadata=going))
    with pytest.raises(AllocationError, match="does not match the current range"):
        await attempt.address("IPv4", "10.50.0.8")
    not_ready = {"conditions": [{"type": "Ready", "status": "False"}]}
    reader.put(SERVICE_CIDRS, service_cidr("kubernetes", "10.43.0.0/16", status=not_ready))
    with pytest.raises(AllocationError, match="range is full"):
        await attempt.address("IPv4", "")
    reader.remove(SERVICE_CIDRS, "", "more")
    assert [str(r.network) for r in found.addresses] == ["10.43.0.0/16"]


async def test_overlapping_ranges_give_no_address_twice() -> None:
    reader = FakeReader()
    found = ranges(reader)
    reader.put(SERVICE_CIDRS, service_cidr("a", "10.60.0.0/29"))
    reader.put(SERVICE_CIDRS, service_cidr("b", "10.60.0.0/28"))
    taken = [await Attempt(found, f"blue/{n}").address("IPv4", "") for n in range(14)]
    assert len(set(taken)) == 14
    with pytest.raises(AllocationError, match="range is full"):
        await Attempt(found, "blue/last").address("IPv4", "")


async def test_what_another_writer_stored_is_passed_by_or_refused() -> None:
    reader = FakeReader()
    found = ranges(reader)
    reader.put(SERVICE_CIDRS, service_cidr("a", "10.60.0.0/30"))
    found.store = store = Contested("10.60.0.1")
    with pytest.raises(AllocationError, match="already allocated"):
        await Attempt(found, "blue/web").address("IPv4", "10.60.0.1")
    attempt = Attempt(found, "blue/web")
    assert await attempt.address("IPv4", "") == "10.60.0.2"
    await attempt.finish(False)
    assert store.removed == ["10.60.0.2"]
    again = Attempt(found, "blue/next")
    assert await again.address("IPv4", "") == "10.60.0.2"
    # Nobody knows how it ended: the object stays for the repair to judge.
    await again.finish(None)
    assert store.owners["10.60.0.2"] == "blue/next"


async def test_an_object_alone_holds_an_address() -> None:
    reader = FakeReader()
    reader.put(IP_ADDRESSES, ip_address("10.43.1.1", "web"))
    found = ranges(reader)
    with pytest.raises(AllocationError, match="already allocated"):
        await Attempt(found, "blue/other").address("IPv4", "10.43.1.1")
    reader.remove(IP_ADDRESSES, "", "10.43.1.1")
    assert await Attempt(found, "blue/other").address("IPv4", "10.43.1.1") == "10.43.1.1"


async def test_a_service_keeps_its_address_without_its_object() -> None:
    reader = FakeReader()
    found = ranges(reader)
    web = {"metadata": {"namespace": "blue", "name": "web"}, "spec": {"clusterIP": "10.43.1.1"}}
    reader.put("services", web)
    reader.put(IP_ADDRESSES, ip_address("10.43.1.1", "web"))
    reader.remove(IP_ADDRESSES, "", "10.43.1.1")
    assert found.owner("10.43.1.1") == "blue/web"


def test_sizes() -> None:
    small = AddressRange("10.0.0.0/30")
    assert sorted(small.take(str(n)) for n in range(2)) == ["10.0.0.1", "10.0.0.2"]
    large = AddressRange("fd00::/64")
    large.take_exactly("fd00::ffff:ffff:ffff:ffff", "me")
    assert large.take("me").startswith("fd00::")
