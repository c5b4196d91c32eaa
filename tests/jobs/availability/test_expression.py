"""What a service needs, read from text and written again; and what is no such text, refused at its place."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.availability.expression import AtLeast, Expression, Part, measured, names, parse, redundancies, spelled
from tests.jobs.availability.second import drawn, read

A, B, C = Part("a"), Part("b"), Part("c")


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("a", A),
        ("(a)", A),
        ("any(a)", A),
        ("a and b", AtLeast(2, (A, B))),
        ("all(a, b)", AtLeast(2, (A, B))),
        ("any(a,b)", AtLeast(1, (A, B))),
        ("at_least(2, a, b, c)", AtLeast(2, (A, B, C))),
        ("a and any(b, c)", AtLeast(2, (A, AtLeast(1, (B, C))))),
        ("any(a and b, c)", AtLeast(1, (AtLeast(2, (A, B)), C))),
        ("any (  a ,\n b )", AtLeast(1, (A, B))),
        ("link-fibre and dns.1", AtLeast(2, (Part("link-fibre"), Part("dns.1")))),
        ("any and b", None),
        ("anything and b", AtLeast(2, (Part("anything"), B))),
    ],
)
def test_a_text_is_read(text: str, wanted: Expression | None) -> None:
    if wanted is None:
        with pytest.raises(ValueError, match='not "any"'):
            parse(text)
    else:
        assert parse(text) == wanted


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("", "ends where a name"),
        ("a and", "ends where a name"),
        ("a b", 'character 3: "and", or the end'),
        ("a or b", 'character 3: "and", or the end should come here, not "or"'),
        ("not a", 'character 1: a name.* not "not"'),
        ("any(a", r'ends where "," or "\)"'),
        ("any()", r'character 5: a name.* not "\)"'),
        ("at_least(a, b)", "character 10: a whole number"),
        ("at_least(2 a)", 'character 12: ","'),
        ("at_least(3, a, b)", "between 1 and 2 needed"),
        ("at_least(0, a, b)", "between 1 and 2 needed"),
        ("at_least(99999999999999999999, a)", "a whole number"),
        ("a & b", 'character 3: "&" has no meaning'),
        ("any(a, a)", "names a part twice"),
        ("a)", 'character 2: "and", or the end'),
        ("(" * 40 + "a" + ")" * 40, "fewer parentheses"),
        ("any(b, " * 40 + "a" + ")" * 40, "fewer parentheses"),
        ("any(" * 20 + "b, " + "(" * 20 + "a" + ")" * 40, "fewer parentheses"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(text: str, place: str) -> None:
    with pytest.raises(ValueError, match=place):
        parse(text)


@given(st.text(max_size=40))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        found = parse(text)
    except ValueError:
        return
    assert parse(spelled(found)) == found


def nested(inner: st.SearchStrategy[Expression]) -> st.SearchStrategy[Expression]:
    some = st.lists(inner, min_size=2, max_size=4, unique=True).map(tuple)
    return some.flatmap(lambda parts: st.builds(AtLeast, st.integers(1, len(parts)), st.just(parts)))


EXPRESSIONS = st.recursive(st.sampled_from("abcdef").map(Part), nested, max_leaves=10)


@given(EXPRESSIONS)
def test_what_is_written_is_read_as_the_same(expression: Expression) -> None:
    assert parse(spelled(expression)) == expression


def by_hand(expression: Expression, now: dict[str, str]) -> str:
    """The worst and the best that is possible, worked out apart."""

    def holds(one: Expression, unknown: str) -> bool:
        if isinstance(one, Part):
            return (unknown if now[one.name] == "?" else now[one.name]) == "U"
        return sum(holds(part, unknown) for part in one.parts) >= one.needed

    worst, best = holds(expression, "D"), holds(expression, "U")
    return "U" if worst else "?" if best else "D"


@given(EXPRESSIONS, st.data())
def test_it_holds_at_every_second_as_worked_out_by_hand(expression: Expression, data: st.DataObject) -> None:
    texts = {name: data.draw(st.text("UD?", min_size=12, max_size=12)) for name in names(expression)}
    line = measured(expression, {name: read(text) for name, text in texts.items()})
    assert drawn(line) == "".join(by_hand(expression, {n: t[i] for n, t in texts.items()}) for i in range(12))


def test_a_name_without_a_timeline_is_refused() -> None:
    with pytest.raises(KeyError):
        measured(parse("a and b"), {"a": read("U")})


def test_names_come_once_in_the_order_of_the_text() -> None:
    assert names(parse("b and any(a, b and c)")) == ("b", "a", "c")


def test_redundancy_is_promised_where_a_part_may_fail() -> None:
    found = redundancies(parse("portal and any(fibre, all(radio, mast)) and at_least(2, d1, d2, d3)"))
    assert [spelled(group) for group in found] == ["any(fibre, (radio and mast))", "at_least(2, d1, d2, d3)"]
