"""Laws of the address pool over any history, with crashes."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from kutter.network.addresses.ipam import AddressesExhaustedError, AddressPool

STEPS = st.lists(
    st.tuples(st.sampled_from(["acquire", "release", "restart"]), st.integers(0, 9)), max_size=40
)


@settings(max_examples=60, deadline=None)
@given(STEPS)
def test_never_twice_and_released_last(steps) -> None:
    with tempfile.TemporaryDirectory() as folder:
        pool = AddressPool("10.42.0.0/28", Path(folder))  # 13 addresses for 10 names: never full
        held: dict[str, str] = {}
        order = [f"10.42.0.{n}" for n in range(2, 15)]  # next one first
        for step, number in steps:
            name = f"s{number}"
            if step == "acquire":
                address = pool.acquire(name).address
                if name in held:
                    assert address == held[name]
                    continue
                assert address not in held.values()
                assert address == order.pop(0)
                held[name] = address
            elif step == "release":
                lease = pool.release(name)
                assert (lease.address if lease else None) == held.get(name)
                if name in held:
                    order.append(held.pop(name))
            else:
                pool = AddressPool("10.42.0.0/28", Path(folder))
            assert {lease.sandbox_id: lease.address for lease in pool.leases()} == held


@settings(max_examples=10, deadline=None)
@given(st.integers(1, 4))
def test_full_pool_takes_back(extra) -> None:
    with tempfile.TemporaryDirectory() as folder:
        pool = AddressPool("10.42.0.0/29", Path(folder))
        for number in range(5):
            pool.acquire(f"s{number}")
        for number in range(extra):
            try:
                pool.acquire(f"more{number}")
            except AddressesExhaustedError:
                freed = pool.release(f"s{number}")
                assert freed is not None
                assert pool.acquire(f"more{number}").address == freed.address
            else:
                raise AssertionError("six addresses from a range of five")
