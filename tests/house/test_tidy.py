"""House rules that no linter knows."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted((ROOT / "src").rglob("*.py"))
FORBIDDEN_NAMES = {"util", "utils", "common", "helpers", "misc"}


def test_no_drawer_modules():
    drawers = [str(p) for p in SOURCES if FORBIDDEN_NAMES & {p.stem, *p.parts}]
    assert drawers == []


def test_every_module_says_what_it_is():
    silent = [
        str(p.relative_to(ROOT))
        for p in SOURCES
        if p.read_text().strip() and ast.get_docstring(ast.parse(p.read_text())) is None
    ]
    assert silent == []


def test_no_leftovers():
    pattern = re.compile(r"\b(TODO|FIXME|XXX)\b|NotImplementedError\(\)")
    found = [
        f"{p.relative_to(ROOT)}:{number}"
        for p in SOURCES
        for number, line in enumerate(p.read_text().splitlines(), 1)
        if pattern.search(line)
    ]
    assert found == []


@pytest.mark.parametrize(
    ("call", "home", "instead"),
    [
        (r"\btime\.time\(", {"base/clock.py"}, "base.clock"),
        (r"\bdatetime\.now\(", {"base/clock.py"}, "base.clock"),
        (r"\basyncio\.create_task\(", {"base/tasks.py"}, "base.tasks.Scope"),
    ],
)
def test_time_and_tasks_have_one_home(call, home, instead):
    found = [
        f"{p.relative_to(ROOT / 'src/kutter')}:{number}"
        for p in SOURCES
        if str(p.relative_to(ROOT / "src/kutter")) not in home
        for number, line in enumerate(p.read_text().splitlines(), 1)
        if re.search(call, line)
    ]
    assert found == [], f"use {instead}"


def test_every_command_has_help_with_an_example():
    from kutter.cli.registry import COMMANDS, load

    for name in COMMANDS:
        command = load(name)
        assert command.examples, name
        assert command.name == name


def test_every_command_is_in_the_readme_or_its_help():
    from kutter.cli.main import overview
    from kutter.cli.registry import COMMANDS

    text = overview()
    assert all(re.search(rf"^  {re.escape(name)} ", text, re.MULTILINE) for name in COMMANDS)


def test_changelog_fragments_are_named_by_kind():
    kinds = {"added", "changed", "fixed", "removed", "security"}
    odd = [
        p.name
        for p in (ROOT / "newsfragments").glob("*")
        if p.suffix != ".md" or p.stem.rpartition(".")[2] not in kinds
    ]
    assert odd == []
