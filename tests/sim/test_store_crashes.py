"""Random writes, watchers and kill -9 against the SQLite store; a seed does the same every time.

``make sim SEED=abc`` repeats one seed, ``make sim SEEDS=200`` runs many (see
:mod:`tests.sim.seeds`).
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.sim.doomed_store import END, ROOT
from tests.sim.promises import Listing, Run, Seen, Session, Write, find_broken_promises
from tests.sim.seeds import seeds

from kutter.store.durable import SqliteStore

ROUNDS = 4
REPOSITORY = Path(__file__).resolve().parents[2]


def live_once(file: Path, seed: str, number: int, resume: dict[str, int]) -> tuple[list[Any], bool]:
    """One life: all it told, and whether it was killed."""
    environment = {**os.environ, "PYTHONPATH": f"{REPOSITORY / 'src'}:{REPOSITORY}"}
    arguments = [str(file), seed, str(number), json.dumps(resume)]
    done = subprocess.run(
        [sys.executable, "-m", "tests.sim.doomed_store", *arguments],
        cwd=REPOSITORY,
        env=environment,
        capture_output=True,
        timeout=50,
        check=False,
    )
    assert done.returncode in (0, -signal.SIGKILL), done.stderr.decode()
    lines = done.stdout.split(b"\n")
    return [json.loads(line) for line in lines[:-1]], done.returncode != 0


def read_into(run: Run, told: list[Any]) -> dict[str, int]:
    """Add one life to the run; where each watcher goes on."""
    writes: dict[int, Write] = {}
    open_: dict[str, Session] = {}
    for what, *rest in told:
        if what == "write":
            number, key, value, expected = rest
            writes[number] = Write(key, value, expected)
            run.writes.append(writes[number])
        elif what == "acknowledged":
            writes[rest[0]].outcome, writes[rest[0]].revision = "acknowledged", rest[1]
        elif what == "refused":
            writes[rest[0]].outcome = "refused"
        elif what == "session":
            open_[rest[0]] = Session(rest[0], rest[1])
            run.sessions.append(open_[rest[0]])
        elif what == "event":
            name, key, value, revision = rest
            open_[name].events.append(Seen(key, value, revision))
        else:
            revision, values = rest
            run.listings.append(Listing(revision, {k: tuple(v) for k, v in values.items()}))
    return {name: session.told_until for name, session in open_.items()}


async def read_final(run: Run, file: Path, resume: dict[str, int]) -> None:
    """What is there after the last death, and what each watcher still gets to know."""
    store = await SqliteStore.open(file)
    found = await store.range(ROOT, END)
    values = {r.key: (r.value.decode(), r.mod_revision) for r in found.records}
    run.final = Listing(found.revision, values)
    for name, after in resume.items():
        if after < store.oldest_revision:
            continue
        watch = store.watch(ROOT, after=after)
        session = Session(name, after, bookmark=found.revision)
        run.sessions.append(session)
        while watch.revision < found.revision:
            for event in await anext(watch):
                value = event.value.decode() if event.kind == "put" else None
                session.events.append(Seen(event.key, value, event.revision))
        watch.close()
    await store.close()


def crash_run(folder: Path, seed: str) -> tuple[Run, int]:
    """All lives of one seed, and how many ended by a kill."""
    run, resume, killed = Run(), dict[str, int](), 0
    for number in range(ROUNDS):
        told, died = live_once(folder / "s.sqlite", seed, number, resume)
        resume = read_into(run, told)
        killed += died
    asyncio.run(read_final(run, folder / "s.sqlite", resume))
    return run, killed


@pytest.mark.parametrize("seed", seeds(6))
def test_a_killed_store_keeps_its_promises(tmp_path, seed):
    run, killed = crash_run(tmp_path, seed)
    problems = find_broken_promises(run)
    assert not problems, f"SEED={seed}: " + "\n".join(problems)
    assert sum(w.outcome == "acknowledged" for w in run.writes) > 20
    assert killed > 0, f"SEED={seed}: nothing was killed"


def test_a_seed_does_the_same_every_time(tmp_path):
    first, _ = live_once(tmp_path / "1.sqlite", "again", 0, {})
    second, _ = live_once(tmp_path / "2.sqlite", "again", 0, {})
    assert first == second
