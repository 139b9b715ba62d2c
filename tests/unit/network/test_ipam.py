"""Leases of pod addresses on disk."""

from __future__ import annotations

import pytest

from kutter.network.addresses.ipam import AddressesExhaustedError, AddressPool

CIDR = "10.42.7.0/29"  # gateway .1, five addresses .2 to .6


def test_first_addresses_in_order(tmp_path) -> None:
    pool = AddressPool(CIDR, tmp_path)
    assert pool.gateway == "10.42.7.1"
    assert [pool.acquire(f"s{n}").address for n in range(5)] == [
        f"10.42.7.{n}" for n in range(2, 7)
    ]
    with pytest.raises(AddressesExhaustedError):
        pool.acquire("one too many")


def test_same_sandbox_same_address(tmp_path) -> None:
    pool = AddressPool(CIDR, tmp_path)
    first = pool.acquire("a", [(80, 8080, "TCP", "")])
    assert pool.acquire("a", [(80, 8080, "TCP", "")]) is first
    changed = pool.acquire("a", [(80, 9090, "TCP", "")])
    assert changed.address == first.address
    assert AddressPool(CIDR, tmp_path).find("a") == changed


def test_released_is_reused_last_also_after_a_restart(tmp_path) -> None:
    pool = AddressPool(CIDR, tmp_path)
    for name in "abc":
        pool.acquire(name)
    pool.release("b")
    pool.release("a")
    pool = AddressPool(CIDR, tmp_path)
    assert [pool.acquire(name).address[-1] for name in "wxyz"] == ["5", "6", "3", "2"]


def test_half_written_and_foreign_files_are_dropped(tmp_path) -> None:
    AddressPool(CIDR, tmp_path).acquire("a")
    (tmp_path / "taken" / "10.42.7.3").write_text('{"sandbox": "b"')
    (tmp_path / "taken" / ".10.42.7.4").write_text("")
    (tmp_path / "taken" / "10.99.0.1").write_text('{"sandbox": "c", "ports": []}')
    (tmp_path / "taken" / "10.42.7.5").write_text('{"sandbox": "a", "ports": []}')
    pool = AddressPool(CIDR, tmp_path)
    assert [lease.address for lease in pool.leases()] == ["10.42.7.2"]
    assert [path.name for path in (tmp_path / "taken").iterdir()] == ["10.42.7.2"]


def test_a_crash_between_the_two_files_is_harmless(tmp_path) -> None:
    pool = AddressPool(CIDR, tmp_path)
    pool.acquire("a")
    (tmp_path / "free" / "10.42.7.2@3").write_text("")  # taken again, not yet off the free list
    pool = AddressPool(CIDR, tmp_path)
    taken = {pool.acquire(f"s{n}").address for n in range(4)}
    assert "10.42.7.2" not in taken


def test_unwanted_and_purge(tmp_path) -> None:
    pool = AddressPool(CIDR, tmp_path)
    pool.acquire("a")
    pool.acquire("b")
    assert [lease.sandbox_id for lease in pool.unwanted(["a", "never"])] == ["b"]
    pool.purge()
    assert not list(tmp_path.iterdir())


def test_range_too_small(tmp_path) -> None:
    with pytest.raises(ValueError, match="too small"):
        AddressPool("10.42.7.0/31", tmp_path)
