"""Seats: bounded, in order, never lost."""

from __future__ import annotations

import asyncio

import pytest

from kutter.api.errors import ApiError
from kutter.apiserver.limits import Seats


async def test_seats_are_handed_on_in_order() -> None:
    seats = Seats(1, 2)
    await seats.take()
    order: list[int] = []

    async def wait(number: int) -> None:
        await seats.take()
        order.append(number)
        seats.give_back()

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(wait(1))
        tasks.create_task(wait(2))
        await asyncio.sleep(0)
        with pytest.raises(ApiError) as refused:
            await seats.take()
        assert refused.value.code == 429
        seats.give_back()
    assert order == [1, 2]
    assert seats.try_take()
    assert not seats.try_take()


async def test_waiting_too_long_is_refused_and_takes_no_seat() -> None:
    seats = Seats(1, 1, wait_s=0.01)
    await seats.take()
    with pytest.raises(ApiError) as refused:
        await seats.take()
    assert refused.value.headers["Retry-After"] == "1"
    seats.give_back()
    assert seats.try_take()
