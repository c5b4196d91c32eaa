"""Load the settings: read, make paths absolute, judge shapes, judge rules, build. All mistakes, or the settings."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from orchestrator.settings.build import build
from orchestrator.settings.documents import Documents, read
from orchestrator.settings.mistakes import SettingsError
from orchestrator.settings.model import PolicyTable, SettingsTable
from orchestrator.settings.paths import make_absolute
from orchestrator.settings.rules import Case, judge
from orchestrator.settings.validation import validate
from orchestrator.settings.values import Settings


@dataclass(frozen=True, kw_only=True, slots=True)
class Examined:
    """The files, their validated tables, and the policies with what they inherit."""

    documents: Documents
    table: SettingsTable
    policies: Mapping[str, PolicyTable]


def load(path: Path, *, check_secrets: bool = True) -> Settings:
    """The settings in a file and in what it includes. Raises SettingsError with every mistake that was found.

    `check_secrets` looks at the files that references name (there? private?); no secret is read.
    """
    with _undisturbed():
        seen = examine(path, check_secrets=check_secrets)
        settings = build(path, seen.table, seen.policies)
        return replace(settings, included=tuple(document.path.absolute() for document in seen.documents.included))


@contextmanager
def _undisturbed() -> Iterator[None]:
    """No search for garbage meanwhile: it would look at thousands of new policies again and again, and find none."""
    searched = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if searched:
            gc.enable()


def examine(path: Path, *, check_secrets: bool) -> Examined:
    """The files and their validated tables. Raises SettingsError."""
    documents = read(path)
    make_absolute(documents)
    table, faulty = validate(documents)
    case = Case(documents=documents, table=table, faulty=faulty)
    if mistakes := [*documents.mistakes, *judge(case, files=check_secrets)]:
        raise SettingsError(mistakes)
    return Examined(documents=documents, table=table, policies=case.policies)
