"""Load the settings: read, make paths absolute, judge shapes, judge rules, build. All mistakes, or the settings."""

from __future__ import annotations

from pathlib import Path

from orchestrator.settings.build import build
from orchestrator.settings.documents import Documents, read
from orchestrator.settings.mistakes import SettingsError
from orchestrator.settings.model import SettingsTable
from orchestrator.settings.paths import make_absolute
from orchestrator.settings.rules import Case, judge
from orchestrator.settings.validation import validate
from orchestrator.settings.values import Settings


def load(path: Path, *, check_secrets: bool = True) -> Settings:
    """The settings in a file and in what it includes. Raises SettingsError with every mistake that was found.

    `check_secrets` looks at the files that references name (there? private?); no secret is read.
    """
    _, table = examine(path, check_secrets=check_secrets)
    return build(path, table)


def examine(path: Path, *, check_secrets: bool) -> tuple[Documents, SettingsTable]:
    """The files and their validated tables. Raises SettingsError."""
    documents = read(path)
    make_absolute(documents)
    table, faulty = validate(documents)
    found = judge(Case(documents=documents, table=table, faulty=faulty), files=check_secrets)
    if mistakes := [*documents.mistakes, *found]:
        raise SettingsError(mistakes)
    return documents, table
