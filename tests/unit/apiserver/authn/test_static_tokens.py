"""The token file."""

from __future__ import annotations

from pathlib import Path

import pytest

from kutter.apiserver.authn.static_tokens import StaticTokens
from kutter.apiserver.configuration_file import ConfigurationError


def tokens(tmp_path: Path, text: str) -> StaticTokens:
    path = tmp_path / "tokens.csv"
    path.write_text(text)
    return StaticTokens(path, audiences=["api"])


def test_users_of_the_file(tmp_path: Path) -> None:
    found = tokens(tmp_path, 'one,jane,1,"dev,ops"\n# no line\n\ntwo, joe, 2\n')
    jane, joe = found.verify("one"), found.verify("two")
    assert jane is not None
    assert (jane.user.name, jane.user.uid, jane.user.groups) == ("jane", "1", ("dev", "ops"))
    assert joe is not None
    assert (joe.user.name, joe.user.groups) == ("joe", ())
    assert found.verify("three") is None
    assert found.verify("") is None
    assert found.verify("one", ["other"]) is None


@pytest.mark.parametrize("text", ["one,jane", ",jane,1", "one,,1"])
def test_a_file_that_is_none_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigurationError):
        tokens(tmp_path, text)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot read"):
        StaticTokens(tmp_path / "none", audiences=[])
