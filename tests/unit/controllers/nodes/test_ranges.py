"""Blocks of the cluster's range: never twice, the lowest first, whatever else is taken."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kutter.controllers.nodes.ranges import Blocks


def take_all(blocks: Blocks, limit: int = 1000) -> list[str]:
    found = []
    while len(found) < limit and (block := blocks.free()) is not None:
        blocks.take(block)
        found.append(block)
    return found


def test_blocks_are_given_in_order_until_none_is_left():
    assert take_all(Blocks("10.0.0.0/22")) == [f"10.0.{n}.0/24" for n in range(4)]


def test_a_released_block_is_the_next():
    blocks = Blocks("10.0.0.0/22")
    take_all(blocks)
    blocks.release("10.0.1.0/24")
    assert blocks.free() == "10.0.1.0/24"


@pytest.mark.parametrize(
    ("taken", "first"),
    [
        ("10.0.0.0/23", "10.0.2.0/24"),
        ("10.0.0.128/25", "10.0.1.0/24"),
        ("10.0.0.0/8", None),
        ("192.168.0.0/24", "10.0.0.0/24"),
        ("fd00::/64", "10.0.0.0/24"),
        ("10.0.0.1/24", "10.0.0.0/24"),
        ("nonsense", "10.0.0.0/24"),
    ],
)
def test_what_was_taken_by_hand_counts_where_it_touches(taken: str, first: str | None):
    blocks = Blocks("10.0.0.0/22")
    blocks.take(taken)
    assert blocks.free() == first
    blocks.release(taken)
    assert blocks.free() == "10.0.0.0/24"


def test_a_range_smaller_than_a_block_is_one_block():
    assert take_all(Blocks("10.0.0.0/26")) == ["10.0.0.0/26"]


def test_ranges_of_the_other_family():
    assert take_all(Blocks("fd00::/62", 64)) == [
        "fd00::/64",
        "fd00:0:0:1::/64",
        "fd00:0:0:2::/64",
        "fd00:0:0:3::/64",
    ]


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 15)), max_size=60))
def test_no_block_is_free_and_taken_at_once(steps: list[tuple[bool, int]]):
    blocks = Blocks("10.0.0.0/20")
    held: list[str] = []
    for give, pick in steps:
        if give or not held:
            block = blocks.free()
            if block is None:
                assert len(held) == 16
                continue
            taken = [ipaddress.ip_network(h) for h in held]
            assert not any(ipaddress.ip_network(block).overlaps(t) for t in taken)
            blocks.take(block)
            held.append(block)
        else:
            blocks.release(held.pop(pick % len(held)))
