"""Names and uids."""

from __future__ import annotations

import uuid
from collections import Counter

import pytest

from kutter.base.rng import NAME_ALPHABET, Rng


def test_uids_are_version_4_and_all_different():
    rng = Rng(1)
    made = [rng.uid() for _ in range(2000)]
    assert len(set(made)) == 2000
    for text in made:
        parsed = uuid.UUID(text)
        assert str(parsed) == text
        assert (parsed.version, parsed.variant) == (4, uuid.RFC_4122)
    assert {text[19] for text in made} == set("89ab")


@pytest.mark.parametrize("length", [1, 2, 5, 8, 11])
def test_suffixes_have_their_length_and_use_the_whole_alphabet_in_every_place(length: int):
    rng = Rng(2)
    made = [rng.suffix(length) for _ in range(3000)]
    for place in range(length):
        seen = Counter(text[place] for text in made)
        assert set(seen) == set(NAME_ALPHABET)
        assert max(seen.values()) < 3 * min(seen.values())
    assert {len(text) for text in made} == {length}


def test_a_seed_repeats_itself():
    assert [Rng(3).uid(), Rng(3).suffix()] == [Rng(3).uid(), Rng(3).suffix()]
