"""Every rendering shows the same figures, acts on nothing it shows, and looks as it did when it was last read."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone
from html.parser import HTMLParser
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.quantity import duration
from reports import html, render_json, terminal
from reports.cells import clock, iso
from reports.document import Cell, Column, Document, Fact, Section, Severity, Table, printable
from tests.reports.scenes import HOSTILE, SCENES, ZONE, document

_VOID: Final = {"meta", "link", "br", "hr", "img", "input"}


@dataclass
class _Page(HTMLParser):
    """What a browser would find: the tables' rows of cells, each a list of its lines; and whether tags are balanced."""

    rows: list[list[list[str]]] = field(default_factory=list)
    tags: list[str] = field(default_factory=list)
    attributes: list[tuple[str, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()
        self._open: list[str] = []
        self._quiet = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag in _VOID:
            return
        named = dict(attrs)
        self._open.append(tag)
        if tag == "tbody":
            self._body = True
        if tag == "tr":
            self.rows.append([])
        if tag in {"td", "th"}:
            self.rows[-1].append([""])
        if tag == "span" and named.get("class") == "detail":
            self.rows[-1][-1].append("") if self._in_cell() else None
        if named.get("aria-hidden"):
            self._quiet = len(self._open)

    def handle_endtag(self, tag: str) -> None:
        assert self._open[-1] == tag, f"</{tag}> where {self._open[-3:]} is open"
        if self._quiet == len(self._open):
            self._quiet = 0
        self._open.pop()

    def handle_data(self, data: str) -> None:
        if self._in_cell() and not self._quiet:
            self.rows[-1][-1][-1] += data

    def _in_cell(self) -> bool:
        return "td" in self._open or ("th" in self._open and "tbody" in self._open)

    @property
    def body(self) -> list[list[list[str]]]:
        """The rows below the headings."""
        return [row for row in self.rows if any(line for cell in row for line in cell)]

    @property
    def balanced(self) -> bool:
        """Whether every tag that was opened was closed."""
        return not self._open


def read(text: str) -> _Page:
    """Parse a page."""
    page = _Page()
    page.feed(text)
    page.close()
    return page


def machine(made: Document) -> dict[str, Any]:
    """The JSON form, read back."""
    found: dict[str, Any] = json.loads(render_json.render(made))
    return found


def cells(report: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Every cell of the tables of a report in JSON."""
    for section in report["sections"]:
        for table in section["tables"]:
            for row in table["rows"]:
                yield from row.values()


def shown(lines: list[str]) -> list[str]:
    """A cell's lines as printed everywhere."""
    return [printable(line) for line in lines]


scene_names = pytest.mark.parametrize("name", SCENES)


@scene_names
def test_html_shows_the_cells_of_the_json_and_no_others(name: str) -> None:
    made = document(SCENES[name]())
    wanted = [
        [shown([cell["text"], *cell["details"]]) for cell in row.values()]
        for section in machine(made)["sections"]
        for table in section["tables"]
        for row in table["rows"]
    ]
    assert read(html.render(made)).body == wanted


@scene_names
def test_the_terminal_shows_every_figure_of_the_json(name: str) -> None:
    made = document(SCENES[name]())
    page = terminal.text(made, width=600)
    report = machine(made)
    outside = [report["headline"], *report["summary"].values(), *report["facts"].values()]
    for cell in (*outside, *cells(report)):
        for line in shown([cell["text"], *cell["details"]]):
            assert line in page


@scene_names
def test_texts_carry_the_same_fact_as_the_exact_values_beside_them(name: str) -> None:
    report = machine(document(SCENES[name]()))
    facts = [cell for cell in (*report["facts"].values(), *cells(report))]
    checked = 0
    for cell in facts:
        words = " ".join([cell["text"], *cell["details"]])
        value = cell["value"]
        if isinstance(value, int):
            assert cell["text"] == f"{value:,}"
        named = value if isinstance(value, dict) else {"at": value}
        if isinstance(named.get("at"), str) and re.fullmatch(r"\S+T\S+Z", named["at"]):
            assert clock(datetime.fromisoformat(named["at"]), ZONE) in words
            checked += 1
        for key in ("age_", "lag_", "restore_", "measured_"):
            seconds, limit = (
                named.get(f"{key}seconds"),
                named.get(f"{key}objective_seconds", named.get("objective_seconds")),
            )
            if seconds is not None:
                allowed = None if limit is None else timedelta(seconds=limit)
                assert duration(timedelta(seconds=seconds), limit=allowed) in words
                checked += 1
        for key in ("files_compared", "differences", "errors"):
            if key in named:
                assert f"{named[key]:,}" in words
    assert checked >= 3


@scene_names
def test_the_page_is_whole_and_loads_and_runs_nothing(name: str) -> None:
    text = html.render(document(SCENES[name]()))
    page = read(text)
    assert page.balanced
    assert not {"script", "link", "img", "iframe", "object", "embed", "base", "form"} & set(page.tags)
    assert not [name for name, _ in page.attributes if name in {"src", "href", "srcset", "action"} or name[:2] == "on"]
    style = text[text.index("<style>") : text.index("</style>")]
    assert "url(" not in style
    assert "@import" not in style
    assert not re.search(r"https?:|//[a-z]", text)


def test_hostile_names_are_shown_and_never_obeyed() -> None:
    made = document(SCENES["hostile"]())
    page, plain = html.render(made), terminal.text(made, width=600)
    visible = 'invoice [red]paid[/red] <script>alert("x")</script>\\x1b[31m\\u202etxt.exe\\xff'
    assert printable(HOSTILE) == visible
    assert visible in plain
    assert any(visible in line for row in read(page).body for cell in row for line in cell)
    assert "<script" not in page
    for text in (page, plain):
        assert not {char for char in text if not char.isprintable()} - {"\n"}
        text.encode("utf-8")
    assert machine(made)["facts"]["operator"]["value"] == f"Operator {HOSTILE}"


def test_no_place_of_a_page_reads_what_it_shows() -> None:
    cell = Cell(text=HOSTILE, value=HOSTILE, severity=Severity.BAD, details=(HOSTILE,), badge=True)
    fact = Fact(key="f", label=HOSTILE, cell=cell)
    table = Table(
        key="t",
        title=HOSTILE,
        columns=(Column(key="a", title=HOSTILE), Column(key="b", title="B")),
        rows=((cell, replace(cell, badge=False)),),
    )
    bare = Table(key="e", title=HOSTILE, columns=(Column(key="a", title="A"),), empty=HOSTILE)
    section = Section(key="s", title=HOSTILE, paragraphs=(HOSTILE,), tables=(table, bare))
    made = Document(
        kind="k", title=HOSTILE, subtitle=HOSTILE, headline=cell, summary=(fact,), facts=(fact,), sections=(section,)
    )
    page, plain = html.render(made), terminal.text(made, width=600)
    assert "<script" not in page
    assert "script" not in read(page).tags
    assert page.count("&lt;script&gt;") == 20
    assert plain.count(printable(HOSTILE)) == 18
    for text in (page, plain):
        assert not {char for char in text if not char.isprintable()} - {"\n"}


def test_instants_are_utc_for_machines_and_have_their_offset_for_people() -> None:
    there = datetime(2026, 3, 1, 5, 30, tzinfo=timezone(timedelta(hours=5, minutes=45)))
    assert iso(there) == "2026-02-28T23:45:00Z"
    assert clock(there, ZONE) == "2026-03-01 00:45 +01:00"
    assert clock(there, timezone(-timedelta(hours=3, minutes=30))) == "2026-02-28 20:15 -03:30"


@pytest.mark.parametrize(("name", "width"), [("green", 80), ("mixed", 80), ("red", 80), ("mixed", 170)])
def test_the_text_looks_as_it_did(name: str, width: int, golden: Callable[[str, str], None]) -> None:
    golden(f"integrity-{name}-{width}.txt", terminal.text(document(SCENES[name]()), width=width))


def test_the_json_looks_as_it_did(golden: Callable[[str, str], None]) -> None:
    golden("integrity-mixed.json", render_json.render(document(SCENES["mixed"]())))


def test_the_html_looks_as_it_did(golden: Callable[[str, str], None]) -> None:
    golden("integrity-mixed.html", html.render(document(SCENES["mixed"]())))


@scene_names
@pytest.mark.parametrize("width", [60, 80, 100, 132, 200])
def test_no_line_is_wider_than_the_terminal_and_no_badge_is_cut(name: str, width: int) -> None:
    made = document(SCENES[name]())
    page = terminal.text(made, width=width)
    assert max(map(len, page.splitlines())) <= width
    for cell in cells(machine(made)):
        if cell["value"] in ["met", "missed", "not-proven", "failed"]:
            assert cell["text"] in page


class _Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_colour_goes_to_a_terminal_and_nowhere_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("FORCE_COLOR", "1")
    made = document(SCENES["mixed"]())
    screen, file = _Terminal(), io.StringIO()
    terminal.show(made, screen)
    terminal.show(made, file)
    assert "\x1b[" in screen.getvalue()
    assert "\x1b" not in file.getvalue()
    assert max(map(len, file.getvalue().splitlines())) <= 80


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_a_stream_of_few_characters_gets_what_it_can_show(encoding: str) -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding=encoding)
    terminal.show(document(SCENES["hostile"]()), stream)
    stream.flush()
    page = raw.getvalue().decode(encoding)
    assert "career-files" in page
    assert ("✓ met" if encoding == "utf-8" else "ok met") in page


def test_the_json_is_ascii_with_a_schema_and_a_fixed_order_of_keys() -> None:
    text = render_json.render(document(SCENES["hostile"]()))
    text.encode("ascii")
    report = json.loads(text)
    assert list(report) == ["schema", "kind", "title", "subtitle", "headline", "summary", "facts", "sections"]
    assert report["schema"] == render_json.SCHEMA == 1
    assert text == render_json.render(document(SCENES["hostile"]()))


def test_a_verdict_reads_without_colour() -> None:
    page = html.render(document(SCENES["mixed"]()))
    for symbol, verdict in (("✓", "met"), ("✗", "missed"), ("✗", "not proven")):
        assert f'<span class="mark" aria-hidden="true">{symbol}</span>{verdict}</span>' in page.replace("\n", "")


@given(st.text())
def test_printable_text_stays_and_any_text_becomes_printable(text: str) -> None:
    safe = printable(text)
    assert printable(safe) == safe
    assert all(char.isprintable() or char in "\u00a0\u202f" for char in safe)
    if text.isprintable():
        assert safe == text


@given(st.text(min_size=1), st.text(), st.sampled_from(Severity))
def test_any_text_survives_every_renderer(text: str, detail: str, severity: Severity) -> None:
    cell = Cell(text=text, value=text, severity=severity, details=(detail,))
    table = Table(key="t", columns=(Column(key="a", title=text), Column(key="b", title="B")), rows=((cell, cell),))
    made = Document(kind="k", title=text, headline=cell, sections=(Section(key="s", title=text, tables=(table,)),))
    assert read(html.render(made)).balanced
    assert json.loads(render_json.render(made))["title"] == text
    terminal.text(made, width=80).encode("utf-8")


def test_a_table_holds_as_many_cells_as_columns_with_keys_of_their_own() -> None:
    one = Column(key="a", title="A")
    with pytest.raises(ValueError, match="number of cells"):
        Table(key="t", columns=(one,), rows=((),))
    with pytest.raises(ValueError, match="same key"):
        Table(key="t", columns=(one, one))
