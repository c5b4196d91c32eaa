"""Every way to game maintenance leaves its mark, and improves no figure."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.availability.maintenance import Declaration, Grant, Refusal, contractual, down_within, uses
from jobs.availability.span import State
from tests.jobs.availability.second import drawn, read

GRANT = Grant(notice=10, cap=20)
NIGHT = "UUUU" + "D" * 30 + "UUUUUU"  # 4 to 34 of 40


def declared(start: int, end: int, *, name: str = "m", ahead: int = 10, **more: object) -> Declaration:
    return Declaration(
        **{"name": name, "services": frozenset(["s"]), "start": start, "end": end, "declared_at": start - ahead} | more  # type: ignore[arg-type]  # a dict
    )


def outcome(*declarations: Declaration, grant: Grant | None = GRANT) -> tuple[str, list[tuple[str, ...]]]:
    found = uses(declarations, "s", grant, 0, 40)
    return drawn(contractual(read(NIGHT), found)), [tuple(r.value for r in use.refusals) for use in found]


def test_what_was_announced_in_time_is_left_out() -> None:
    assert outcome(declared(5, 15)) == ("UUUUD" + "x" * 10 + "D" * 19 + "U" * 6, [()])


def test_an_overrun_is_downtime() -> None:
    line, _ = outcome(declared(4, 10))
    assert line.count("D") == 24


def test_announced_too_late_it_counts_wholly() -> None:
    assert outcome(declared(5, 15, ahead=9)) == (NIGHT, [(Refusal.LATE,)])


def test_what_is_not_granted_counts() -> None:
    assert outcome(declared(5, 15), grant=None) == (NIGHT, [(Refusal.NOT_GRANTED,)])


def test_more_than_granted_counts_from_there() -> None:
    line, refusals = outcome(declared(4, 16), declared(20, 32, name="n"))
    assert line == "UUUU" + "x" * 12 + "DDDD" + "x" * 8 + "D" * 6 + "U" * 6
    assert refusals == [(), (Refusal.OVER_CAP,)]


def test_another_service_gains_nothing() -> None:
    assert uses([declared(5, 15, services=frozenset(["other"]))], "s", GRANT, 0, 40) == ()


def test_declared_twice_it_is_left_out_once() -> None:
    line, refusals = outcome(declared(4, 10), declared(6, 12, name="n"), declared(7, 9, name="o"))
    assert line.count("x") == 8
    assert refusals == [(), (Refusal.OVERLAPS,), (Refusal.OVERLAPS,)]


@pytest.mark.parametrize(("cancelled", "left_out"), [(3, 0), (5, 0), (9, 4), (99, 10)])
def test_a_cancelled_one_stands_only_until_then(cancelled: int, left_out: int) -> None:
    line, refusals = outcome(declared(5, 15, cancelled_at=cancelled))
    assert line.count("x") == left_out
    assert refusals == [() if left_out == 10 else (Refusal.CANCELLED,)]


def test_a_window_over_the_end_of_a_period_counts_to_each_with_its_part() -> None:
    (use,) = uses([declared(30, 50)], "s", GRANT, 0, 40)
    assert (use.booked, use.counted_out) == (10, 10)
    (rest,) = uses([declared(30, 50)], "s", GRANT, 40, 80)
    assert (rest.booked, rest.window) == (10, (40, 50))


def test_what_it_used_of_what_it_booked_is_what_was_really_down() -> None:
    assert down_within(read(NIGHT), (0, 10)) == 6
    assert down_within(read(NIGHT), (30, 90)) == 4
    assert down_within(read(NIGHT), (90, 99)) == 0


DECLARATIONS = st.lists(
    st.tuples(st.integers(0, 39), st.integers(1, 20), st.integers(0, 20), st.none() | st.integers(0, 45)), max_size=5
).map(
    lambda rows: [
        declared(start, start + length, name=f"m{i}", ahead=ahead, cancelled_at=cancelled)
        for i, (start, length, ahead, cancelled) in enumerate(rows)
    ]
)


@given(DECLARATIONS, st.text("UD?", min_size=40, max_size=40), st.none() | st.integers(0, 25))
def test_never_more_is_left_out_than_was_granted_and_announced(
    declarations: list[Declaration], text: str, cap: int | None
) -> None:
    found = uses(declarations, "s", Grant(notice=10, cap=cap), 0, 40)
    line = drawn(contractual(read(text), found))
    for second, letter in enumerate(line):
        stands = [
            d
            for d in declarations
            if d.start <= second < d.end
            and d.declared_at + 10 <= d.start
            and (d.cancelled_at is None or second < d.cancelled_at)
        ]
        assert letter == text[second] or (letter == "x" and stands)
        assert letter == "x" or not stands or cap is not None
    assert line.count("x") == sum(use.counted_out for use in found)
    assert cap is None or line.count("x") <= cap
    assert len(found) == len(declarations)
    assert all(use.refusals or use.counted_out == use.booked for use in found)


@pytest.mark.parametrize(
    "wrong", [lambda: declared(5, 5), lambda: declared(5, 9, services=frozenset()), lambda: Grant(notice=-1)]
)
def test_what_cannot_be_is_refused(wrong: object) -> None:
    with pytest.raises(ValueError, match=r"ends before|of no service|are durations"):
        wrong()  # type: ignore[operator]  # a maker


def test_the_reason_names_the_maintenance() -> None:
    line = contractual(read(NIGHT), uses([declared(5, 15, name="december")], "s", GRANT, 0, 40))
    (span,) = [span for span in line.spans if span.state is State.EXCLUDED]
    assert span.reason == "maintenance december"
