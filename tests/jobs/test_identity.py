"""A repository that was there before is never created again, and another one in its place is never written to."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.identity import Standing, standing

hashes = st.sampled_from(["a", "b", "c"])


@pytest.mark.parametrize(
    ("known", "found", "expected"),
    [
        (None, None, Standing.CREATE),
        (None, "a", Standing.ADOPT),
        ("a", "a", Standing.KNOWN),
        ("a", None, Standing.MISSING),
        ("a", "b", Standing.FOREIGN),
    ],
)
def test_the_table(known: str | None, found: str | None, expected: Standing) -> None:
    assert standing(known, found) is expected


@given(st.none() | hashes, st.none() | hashes, st.frozensets(hashes))
def test_only_a_place_where_nothing_ever_was_may_get_a_new_repository(
    known: str | None, found: str | None, others: frozenset[str]
) -> None:
    judged = standing(known, found, others=others)
    assert (judged is Standing.CREATE) == (known is None and found is None)
    if found in others:
        assert judged is Standing.FOREIGN
