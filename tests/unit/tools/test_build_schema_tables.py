"""The committed tables are what the published schema gives."""

import importlib.util
from pathlib import Path

TOOL = Path(__file__).parents[3] / "tools" / "build_schema_tables.py"


def load():
    spec = importlib.util.spec_from_file_location("build_schema_tables", TOOL)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_regenerating_gives_the_committed_tables():
    tool = load()
    committed = {path.name: path.read_text() for path in tool.TABLES.glob("*.json")}
    assert tool.build() == committed


def test_tables_carry_no_prose():
    tool = load()
    for text in tool.build().values():
        assert "description" not in text.replace('"description": "string"', "")
