"""A document as a whole file, in whichever form; each renderer is loaded when it is asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from jobs.reporting import Form
from reports.document import Document


def rendered(document: Document, form: Form) -> str:
    """The document in a form."""
    return _RENDERERS[form](document)


def _html(document: Document) -> str:
    from reports import html

    return html.render(document)


def _json(document: Document) -> str:
    from reports import render_json

    return render_json.render(document)


def _text(document: Document) -> str:
    from reports import terminal

    return terminal.text(document)


_RENDERERS: Final[Mapping[Form, Callable[[Document], str]]] = MappingProxyType(
    {Form.HTML: _html, Form.JSON: _json, Form.TEXT: _text}
)
