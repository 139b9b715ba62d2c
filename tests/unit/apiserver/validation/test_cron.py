"""Schedules of cron jobs."""

from __future__ import annotations

import pytest

from kutter.apiserver.validation.cron import schedule_problem, time_zone_problems


@pytest.mark.parametrize(
    "schedule",
    ["* * * * *", "*/5 0-6,12 1 jan-mar mon", "@hourly", "@every 5m", "0 0 ? * 0", "59 23 31 12 6"],
)
def test_fine(schedule: str) -> None:
    assert schedule_problem(schedule) == ""


@pytest.mark.parametrize(
    ("schedule", "problem"),
    [
        ("60 * * * *", "end of range (60) above maximum (59): 60"),
        ("* * 0 * *", "beginning of range (0) below minimum (1): 0"),
        ("5-3 * * * *", "beginning of range (5) beyond end of range (3): 5-3"),
        ("*/0 * * * *", "step of range should be a positive number: */0"),
        ("@often", "unrecognized descriptor: @often"),
        ("TZ=Nope/Nope * * * * *", "provided bad location Nope/Nope: unknown time zone Nope/Nope"),
        ("@every x", 'failed to parse duration @every x: time: invalid duration "x"'),
        ("1/2/3 * * * *", "too many slashes: 1/2/3"),
    ],
)
def test_wrong(schedule: str, problem: str) -> None:
    assert schedule_problem(schedule) == problem


def test_zones() -> None:
    assert time_zone_problems("Etc/UTC") == []
    assert time_zone_problems("") == ["timeZone must be nil or non-empty string"]
    assert time_zone_problems("Local")[0].startswith("timeZone must be an explicit time zone")
    assert time_zone_problems("../etc/passwd") == ["unknown time zone ../etc/passwd"]
