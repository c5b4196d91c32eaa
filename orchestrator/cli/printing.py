"""A document, to where the user wants it: the terminal, one JSON document, or a file."""

from __future__ import annotations

import argparse
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from reports.document import Document


_SOON_SECONDS: Final = 0.5


def prepare(arguments: argparse.Namespace) -> None:
    """Import what the result of work will be shown with once restic is under way: nobody waits for it at the end."""
    soon = threading.Timer(_SOON_SECONDS, _ready_for_json if arguments.json else _ready_for_people)
    soon.daemon = True
    soon.start()


def _ready_for_json() -> None:
    from reports import answers, render_json  # noqa: F401 (what counts is that they are there)


def _ready_for_people() -> None:
    from reports import answers, terminal  # noqa: F401 (what counts is that they are there)


def show(arguments: argparse.Namespace, document: Document) -> None:
    """Print a document on standard output: for people, or with --json as one JSON document."""
    if arguments.json:
        from reports import render_json

        sys.stdout.write(render_json.render(document))
    else:
        from reports import terminal

        terminal.show(document, sys.stdout)


def rendered(document: Document, form: str) -> str:
    """The document as a whole file of the form "text", "json" or "html"."""
    if form == "html":
        from reports import html

        return html.render(document)
    if form == "json":
        from reports import render_json

        return render_json.render(document)
    from reports import terminal

    return terminal.text(document)


def write(text: str, file: Path | None) -> None:
    """Write a rendered document to a file (its folder is made), or to standard output."""
    if file is None:
        sys.stdout.write(text)
    else:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")


def note(line: str) -> None:
    """A line for people beside the result, on standard error."""
    sys.stderr.write(line + "\n")
    sys.stderr.flush()
