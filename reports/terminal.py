"""Documents as text, and progress in a terminal. The only module that knows rich; nothing is read as markup."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from io import StringIO
from types import TracebackType
from typing import Final, Self, TextIO

from rich import box
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TaskProgressColumn, TextColumn
from rich.rule import Rule
from rich.table import Column as RichColumn
from rich.table import Table as RichTable
from rich.text import Text

from reports.document import SYMBOLS, Cell, Document, Fact, Section, Severity, Table, printable
from reports.progress import Figures, figures

_STYLES: Final = {
    Severity.GOOD: "green",
    Severity.BAD: "bold red",
    Severity.WARNING: "yellow",
    Severity.NEUTRAL: "",
}
_PLAIN_SYMBOLS: Final = {Severity.GOOD: "ok", Severity.BAD: "X", Severity.WARNING: "!", Severity.NEUTRAL: "-"}
_WRAPS_AT: Final = 30  # a column whose lines are longer may fold; below this it may not
_GUTTER: Final = 2
_BETWEEN: Final = _GUTTER + 1  # two columns of a grid: rich draws a line there, here of spaces
_WIDE: Final = 130  # from here a step's name, bar and all figures stand in one line


def show(document: Document, stream: TextIO, *, width: int | None = None) -> None:
    """Write the document: in colour to a terminal, plain to anything else. `width` None takes the terminal's, or 80."""
    on_terminal = stream.isatty()
    console = Console(
        file=stream,
        width=width if width is not None or on_terminal else 80,
        force_terminal=on_terminal,
        color_system="auto" if on_terminal else None,
        markup=False,
        emoji=False,
        highlight=False,
    )
    page = _Page(console)
    for part in page.parts(document):
        console.print(part)


def text(document: Document, *, width: int = 100) -> str:
    """The document as plain text, without colour."""
    stream = StringIO()
    show(document, stream, width=width)
    return "\n".join(line.rstrip() for line in stream.getvalue().splitlines()) + "\n"


class _Page:
    """Turns a document's parts into rich's, for one console's width and character set."""

    def __init__(self, console: Console) -> None:
        self._width = console.width
        self._encoding = console.encoding
        self._symbols = _PLAIN_SYMBOLS if console.options.ascii_only else SYMBOLS

    def parts(self, document: Document) -> Iterable[RenderableType]:
        yield Text.assemble((self._safe(document.title), "bold"), "  ", (self._safe(document.subtitle), "dim"))
        if document.headline is not None:
            yield Padding(self._sign(document.headline), (1, 0, 0, 0))
        if document.summary:
            yield self._summary(document.summary)
        if document.facts:
            yield Padding(self._facts(document.facts), (1, 0, 0, 0))
        for section in document.sections:
            yield from self._section(section)

    def _safe(self, outside: str) -> str:
        return printable(outside).encode(self._encoding, "replace").decode(self._encoding)

    def _sign(self, cell: Cell) -> Text:
        return Text(f"{self._symbols[cell.severity]} {self._safe(cell.text)}", style=_STYLES[cell.severity])

    def _summary(self, facts: Sequence[Fact]) -> Text:
        parts = []
        for fact in facts:
            figure = (self._safe(fact.cell.text), _STYLES[fact.cell.severity] or "bold")
            parts.append(Text.assemble((self._safe(fact.label), "dim"), " ", figure))
        return Text("   ").join(parts)

    def _facts(self, facts: Sequence[Fact]) -> RenderableType:
        return self._pairs([(fact.label, fact.cell) for fact in facts])

    def _pairs(self, pairs: Sequence[tuple[str, Cell]]) -> RenderableType:
        grid = RichTable.grid(RichColumn(style="dim", no_wrap=True), RichColumn(overflow="fold"), padding=(0, _GUTTER))
        for label, cell in pairs:
            grid.add_row(self._safe(label), self._in_one_line(cell))
        return grid

    def _section(self, section: Section) -> Iterable[RenderableType]:
        title = Text(self._safe(section.title), style="bold")
        yield Padding(Rule(title, align="left", style="dim"), (1, 0, 0, 0)) if section.title else Text()
        for paragraph in section.paragraphs:
            yield Text(self._safe(paragraph))
        for table in section.tables:
            if table.title:
                yield Padding(Text(self._safe(table.title), style="bold"), (1, 0, 0, 0))
            yield self._table(table)

    def _table(self, table: Table) -> RenderableType:
        if not table.rows:
            return Text(self._safe(table.empty), style="dim")
        return self._grid(table) if self._fits(table) else self._stack(table)

    def _fits(self, table: Table) -> bool:
        """Whether the columns stand side by side with no short one folded."""
        needed = 0
        for place, column in enumerate(table.columns):
            lines = [line for row in table.rows for line in self._lines(row[place])]
            longest = max(len(line) for line in lines)
            needed += max(min(longest, _WRAPS_AT), len(column.title)) + _BETWEEN
        return needed - _BETWEEN <= self._width

    def _lines(self, cell: Cell) -> tuple[str, ...]:
        mark = f"{self._symbols[cell.severity]} " if cell.marked else ""
        return (mark + self._safe(cell.text), *(self._safe(detail) for detail in cell.details))

    def _grid(self, table: Table) -> RenderableType:
        grid = RichTable(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, _GUTTER, 0, 0))
        several = any(cell.details for row in table.rows for cell in row)
        for place, column in enumerate(table.columns):
            longest = max(len(line) for row in table.rows for line in self._lines(row[place]))
            grid.add_column(
                Text(self._safe(column.title)),
                justify=column.align,
                overflow="fold",
                min_width=min(longest, _WRAPS_AT),
            )
        for row in table.rows:
            grid.add_row(*(self._tall(cell) for cell in row), end_section=several)
        return grid

    def _tall(self, cell: Cell) -> Text:
        first, *details = self._lines(cell)
        words = Text(first, style=_STYLES[cell.severity])
        return Text("\n").join([words, *(Text(detail, style="dim") for detail in details)])

    def _in_one_line(self, cell: Cell, style: str = "") -> Text:
        first, *details = self._lines(cell)
        rest = "".join(f" {SYMBOLS[Severity.NEUTRAL]} {detail}" for detail in details)
        return Text.assemble((first, style or _STYLES[cell.severity]), (self._safe(rest), "dim"))

    def _stack(self, table: Table) -> RenderableType:
        """A row as a block: what it is and its judgement first, the other columns below, one in a line."""
        blocks: list[RenderableType] = []
        for row in table.rows:
            badge = next((place for place in (0, len(row) - 1) if row[place].badge), None)
            titled = [(column.title, cell) for column, cell in zip(table.columns, row, strict=True)]
            rest = [pair for place, pair in enumerate(titled) if place != badge]
            head = Text()
            if badge is not None:
                head = self._sign(row[badge]).append("  ")
                rest += [(titled[badge][0], _because(row[badge]))] if row[badge].details else []
            head.append(self._in_one_line(rest[0][1], style="bold"))
            blocks.append(Group(head, Padding(self._pairs(rest[1:]), (0, 0, 1, 2))))
        return Group(*blocks)


def _because(judgement: Cell) -> Cell:
    return Cell(text=", ".join(judgement.details))


class ProgressDisplay:
    """How far the steps of a long job are, as bars in a terminal. What is over stays as a line above them.

    Steps may run at the same time and be reported from several threads. Use it as a context manager.
    """

    def __init__(self, stream: TextIO) -> None:
        self._bars = _bars(stream)
        self._steps: dict[str, TaskID] = {}

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()

    def start(self, step: str) -> None:
        """Announce a step by the name under which it is fed ("backup career-files at primary")."""
        self._steps[step] = self._bars.add_task(printable(step), total=None, figures="")

    def update(self, step: str, now: Figures) -> None:
        """How far it is. A step that was not announced is announced."""
        if step not in self._steps:
            self.start(step)
        line = figures(now, brief=self._bars.console.width < _WIDE)
        self._bars.update(self._steps[step], total=now.bytes_total, completed=now.bytes_done, figures=line)

    def finish(self, step: str, outcome: str = "done") -> None:
        """End a step; `outcome` is a word or a sentence ("done", "failed: vault unreachable").

        How far it was last seen is not told: only who did the work knows what it came to.
        """
        if step in self._steps:
            self._bars.remove_task(self._steps.pop(step))
        self._bars.console.print(Text(printable(f"{step}: {outcome}")))


def _bars(stream: TextIO) -> Progress:
    console = Console(file=stream, force_terminal=True, markup=False, emoji=False, highlight=False)
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False, table_column=RichColumn(no_wrap=True, overflow="ellipsis")),
        BarColumn(bar_width=24 if console.width >= _WIDE else 10),
        TaskProgressColumn(),
        TextColumn("{task.fields[figures]}", markup=False, table_column=RichColumn(no_wrap=True, overflow="ellipsis")),
        console=console,
    )
