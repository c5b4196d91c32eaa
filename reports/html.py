"""A document as one HTML file: no script, nothing loaded from anywhere, good on a screen and on A4 paper."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from reports.document import SYMBOLS, Document, printable

if TYPE_CHECKING:
    from jinja2 import Environment


def render(document: Document) -> str:
    """The document as HTML text, to be written in UTF-8."""
    return _environment().get_template("report.html").render(document=document)


@cache
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined  # start-up time: most commands render no HTML

    environment = Environment(
        loader=PackageLoader("reports"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["printable"] = printable
    environment.filters["symbol"] = SYMBOLS.__getitem__
    environment.tests["instant"] = _is_instant
    return environment


def _is_instant(value: object) -> bool:
    return isinstance(value, str) and len(value) == 20 and value[10] == "T" and value.endswith("Z")
