"""A document, to where the user wants it: the terminal, one JSON document, or a file."""

from __future__ import annotations

import argparse
import json
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from reports.document import Document


_SOON_SECONDS: Final = 0.5


class OutputError(Exception):
    """What was asked for cannot be written where it should go."""

    def __init__(self, where: str, cause: OSError) -> None:
        super().__init__(f"write to {where}: {cause.strerror or cause}")


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

        say(render_json.render(document))
    else:
        from reports import terminal

        with _heard():
            terminal.show(document, sys.stdout)


def say(text: str) -> None:
    """Write text on standard output. Raises OutputError; a reader that has seen enough is none."""
    with _heard():
        sys.stdout.write(text)


@contextmanager
def _heard() -> Iterator[None]:
    """What is written to standard output meanwhile has arrived afterwards, or nobody wants it any more (head, a pager).

    What the command found out still decides on its exit code.
    """
    try:
        yield
        sys.stdout.flush()
    except (BrokenPipeError, SystemExit):  # rich ends the process at a broken pipe
        _mute()
    except OSError as cause:
        _mute()
        raise OutputError("standard output", cause) from cause


def _mute() -> None:
    """Let what is still to be written go nowhere, or Python itself fails at it when it ends."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def error(code: int, kind: str, message: str, advice: str) -> None:
    """The one JSON document that --json promises of an error, on standard output. Where that is full, stderr has it."""
    document = {"error": {"exit_code": code, "kind": kind or None, "message": message, "advice": advice or None}}
    with suppress(OutputError):
        say(json.dumps(document) + "\n")


def write(text: str, file: Path | None) -> None:
    """Write a rendered document to a file (its folder is made), or to standard output. Raises OutputError."""
    if file is None:
        return say(text)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    except OSError as cause:
        raise OutputError(str(file), cause) from cause


def note(line: str) -> None:
    """A line for people beside the result, on standard error."""
    sys.stderr.write(line + "\n")
    sys.stderr.flush()
