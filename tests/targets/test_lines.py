"""Lines and tails: nothing lost, nothing unbounded, whatever the pieces."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from targets.lines import Lines, Tail

SOUP = st.binary(max_size=200) | st.text("ab\n\r", max_size=200).map(str.encode)


def split(pieces: list[bytes], limit: int = 1 << 20) -> list[bytes]:
    lines = Lines(limit)
    return [line for piece in pieces for line in lines.feed(piece)] + list(lines.rest())


@given(SOUP, st.lists(st.integers(0, 200)))
def test_where_pieces_end_does_not_matter(stream: bytes, cuts: list[int]) -> None:
    edges = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    assert split([stream[start:end] for start, end in pairwise(edges)]) == split([stream])


@given(SOUP)
def test_lines_are_what_stands_between_newlines(stream: bytes) -> None:
    assert split([stream]) == [line for part in stream.split(b"\n") if (line := part.rstrip(b"\r"))]


@given(SOUP, st.integers(1, 20))
def test_a_line_is_cut_at_the_limit(stream: bytes, limit: int) -> None:
    whole, cut = stream.split(b"\n"), split([stream], limit)
    assert cut == [line for part in whole if (line := part[:limit].rstrip(b"\r"))]


@given(st.lists(st.binary(max_size=50)), st.integers(1, 60))
def test_a_tail_is_the_end_of_the_stream(pieces: list[bytes], limit: int) -> None:
    tail = Tail(limit)
    for piece in pieces:
        tail.feed(piece)
    assert tail.bytes() == b"".join(pieces)[-limit:]


def test_a_tail_forgets() -> None:
    tail = Tail(10)
    for _ in range(100_000):
        tail.feed(b"abc")
    assert len(tail._pieces) <= 5


@given(st.binary(max_size=200).map(lambda stream: stream.replace(b"\r", b"")), st.lists(st.integers(0, 200)))
def test_a_line_is_cut_at_the_limit_wherever_its_pieces_end(stream: bytes, cuts: list[int]) -> None:
    edges = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    pieces = [stream[start:end] for start, end in pairwise(edges)]
    assert split(pieces, limit=7) == [line[:7] for line in stream.split(b"\n") if line]
    assert split([b"abcd", b"efgh", b"ijkl\nm"], limit=6) == [b"abcdef", b"m"]
