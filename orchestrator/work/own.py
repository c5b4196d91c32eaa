"""Tandem itself as a source: its ledger, its settings files and a word to whoever finds them; never a secret's file."""

from __future__ import annotations

import os.path
from pathlib import Path
from typing import Final

from jobs.failure import FailureKind
from jobs.policy import Own, Policy, Source, Sqlite
from orchestrator.ledger.ledger import LedgerError
from orchestrator.work.tools import Tools
from targets.errors import TargetError
from targets.sources import files

FOLDER: Final = "tandem"  # of the snapshot: all that is stored is below it
LEDGER: Final = f"{FOLDER}/ledger.db"
SETTINGS: Final = f"{FOLDER}/settings"
_ELSEWHERE: Final = "elsewhere"  # below the settings: what was included from outside the main file's folder

_README: Final = """\
This is a backup of Tandem itself, made by its policy {policy} of tenant {tenant}.

  ledger.db    what ran, what exists and what was proven (SQLite)
  settings/    the settings files, as they lay beside {main}

No secret is in it: passwords, keys and credentials are where the settings say, and must be put there again by hand.

To bring a lost orchestrator back, on a machine with Tandem and restic:

  1. Write a settings.toml with [service], the site and vault that hold this backup, tenant {tenant} with its
     password, and [policies.{policy}] with source = {{ tandem = true }}.
  2. tandem --settings settings.toml restore --ledger
  3. Put the settings files that come back, and the secrets that they name, where they belong.
  4. tandem doctor, then tandem serve.

Without Tandem: restic restore this snapshot, and put ledger.db where [service] state says.
"""


def database_in(source: Source) -> str | None:
    """The path, as a snapshot has it, of the SQLite database that a source is or holds; None where there is none."""
    match source:
        case Sqlite(path=path):
            return path
        case Own():
            return f"/{LEDGER}"
        case _:
            return None


def stage(policy: Policy, tools: Tools, staging: Path) -> None:
    """Lay everything out below `staging`, a folder that stands for `/`.

    Raises TargetError: SOURCE_MISSING (also for a ledger that is no file of ours), SOURCE_UNREADABLE, LEDGER_DAMAGED,
    DISK_FULL.
    """
    (staging / SETTINGS).mkdir(mode=0o700, parents=True, exist_ok=True)
    (staging / FOLDER).chmod(0o700)
    _stage_ledger(tools, staging / LEDGER)
    main = tools.settings_files[0] if tools.settings_files else Path("settings.toml")
    for file in tools.settings_files:
        files.copy(file, staging / SETTINGS / _name(file, main.parent))
    text = _README.format(policy=policy.name, tenant=policy.tenant, main=main)
    (staging / FOLDER / "README.txt").write_text(text, encoding="utf-8")


def _stage_ledger(tools: Tools, into: Path) -> None:
    """A consistent copy, which the ledger itself has found sound."""
    ledger = tools.ledger
    if not ledger.files:
        message = (
            "it is on a PostgreSQL server, which has its own tool for that: back it up by a policy of its own with "
            'source = { command = { run = ["pg_dump", …], filename = "ledger.sql" } }, and the settings with paths'
        )
        raise TargetError("copy", f"the ledger {ledger.label}", FailureKind.SOURCE_MISSING, message)
    try:
        ledger.copy_to(into)
    except LedgerError as error:
        raise TargetError("copy", f"the ledger {ledger.label}", error.kind, str(error)) from error


def _name(file: Path, folder: Path) -> Path:
    """Where a settings file lies below SETTINGS: as it lies below the main file's folder, where it does."""
    clean = Path(os.path.normpath(file))
    if clean.is_relative_to(folder):
        return clean.relative_to(folder)
    return Path(_ELSEWHERE, *clean.parts[1:])
