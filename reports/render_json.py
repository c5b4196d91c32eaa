"""A document as one JSON document for machines: keys in a fixed order, exact values, the same texts as everywhere."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, Final

from reports.document import Cell, Document, Fact, Section, Table

SCHEMA: Final = 1  # raised when a key changes its meaning or goes; new keys do not raise it


def render(document: Document) -> str:
    """The document as JSON text in ASCII (any terminal and any pipe carries it), a line feed at its end."""
    return json.dumps(_document(document), indent=2, ensure_ascii=True) + "\n"


def _document(document: Document) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "kind": document.kind,
        "title": document.title,
        "subtitle": document.subtitle,
        "headline": None if document.headline is None else _cell(document.headline),
        "summary": _facts(document.summary),
        "facts": _facts(document.facts),
        "sections": [_section(section) for section in document.sections],
    }


def _facts(facts: Iterable[Fact]) -> dict[str, Any]:
    return {fact.key: {"label": fact.label, **_cell(fact.cell)} for fact in facts}


def _section(section: Section) -> dict[str, Any]:
    return {
        "key": section.key,
        "title": section.title,
        "paragraphs": list(section.paragraphs),
        "tables": [_table(table) for table in section.tables],
    }


def _table(table: Table) -> dict[str, Any]:
    keys = [column.key for column in table.columns]
    return {
        "key": table.key,
        "title": table.title,
        "columns": {column.key: column.title for column in table.columns},
        "rows": [{key: _cell(cell) for key, cell in zip(keys, row, strict=True)} for row in table.rows],
        "empty": table.empty,
    }


def _cell(cell: Cell) -> dict[str, Any]:
    value = dict(cell.value) if isinstance(cell.value, Mapping) else cell.value
    return {"text": cell.text, "value": value, "severity": cell.severity.value, "details": list(cell.details)}
