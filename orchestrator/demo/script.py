"""The demonstration's script: what is shown, in order, each step with its command and the ending that it must have."""

from __future__ import annotations

import fcntl
import os
import shlex
import shutil
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from jobs.failure import BUSY_OR_LOCKED, DONE, INTERNAL, JOB_FAILED, USAGE
from orchestrator.demo import material, office, pensions
from orchestrator.demo.damage import damage
from orchestrator.demo.stage import NotADemoError, Stage, clear, damaged_settings, insist

Tandem = Callable[[Sequence[str]], int]  # the product's own command line: words in, exit code out
Say = Callable[[str], None]

_POLICY: Final = "career-files"  # the one whose copy is damaged: it has the scans
_TENANT: Final = "minfopra"


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """One thing that is shown. `prepare` sets the scene and tells of it; `words` are then given to Tandem."""

    title: str
    words: tuple[str, ...]
    prepare: Callable[[], str] | None = None
    ending: int = DONE
    meaning: str = ""  # what the ending shows, where it is not DONE


class Busy(Exception):  # noqa: N818 (a state of things, not a mistake)
    """Another demonstration is running in the same folder."""


def run(settings: Path, tandem: Tandem, say: Say, scale: material.Scale = material.FULL) -> int:
    """Show everything, and give 0; or the exit code of the first step that did not end as it must.

    Raises SettingsError when the settings are not valid.
    """
    stage = Stage.beside(settings)
    try:
        insist(stage)
        with _alone(stage):
            clear(stage)
            return _show(stage, tandem, say, scale)
    except NotADemoError as refusal:
        say(f"tandem: {refusal}\n  next: run it in a clone of the project, with the settings.toml that is there")
        return USAGE
    except Busy as refusal:
        return _busy(refusal, say)


def clean(settings: Path, say: Say) -> int:
    """Remove what a demonstration left, and nothing else."""
    stage = Stage.beside(settings)
    if not os.path.lexists(stage.folder):
        say(f"{_short(stage.folder)} is not there: nothing to remove")
        return DONE
    try:
        with _alone(stage):
            clear(stage)
    except Busy as refusal:
        return _busy(refusal, say)
    say(f"{_short(stage.folder)} is removed")
    return DONE


def script(stage: Stage) -> tuple[Step, ...]:
    """All that is shown once there is something to back up, in order."""
    damaged = ("--settings", _short(stage.damaged_settings))
    found = "the damage is found, as it must be"
    report = ("report", "integrity")
    return (
        Step(
            title="Back up while the database is written to, copy, check, restore, compare",
            words=("run",),
        ),
        Step(
            title="A working day later, only what changed is read, stored and copied",
            prepare=lambda: _change(stage),
            words=("run",),
        ),
        Step(
            title=f"One bit rots in a copy of {_TENANT}'s second site: a check must find it",
            prepare=lambda: _rot(stage),
            words=(*damaged, "check", _POLICY, "--site", "secondary"),
            ending=JOB_FAILED,
            meaning=found,
        ),
        Step(
            title="A restore test of the same copy must find it too",
            words=(*damaged, "test-restore", _POLICY, "--site", "secondary"),
            ending=JOB_FAILED,
            meaning=found,
        ),
        Step(title="The report on the two real sites, which the rotten copy is no part of", words=report),
        Step(
            title="The same report as a page to read, print and hand on",
            words=(*report, "--format", "html", "--output", _short(stage.report)),
        ),
    )


def _show(stage: Stage, tandem: Tandem, say: Say, scale: material.Scale) -> int:
    steps = script(stage)
    total = len(steps) + 1
    say(f"Everything stays below {_short(stage.folder)}; `make demo-clean` removes it.")
    say("`tandem` is .venv/bin/tandem.")
    say(f"\n[1/{total}] Two tenants' data: real files, a live database, patients' records")
    say(f"    {_begin(stage, scale)}")
    with office.at_work(stage.pensions):
        for number, step in enumerate(steps, 2):
            say(f"\n[{number}/{total}] {step.title}")
            if (code := _play(step, stage, tandem, say)) != DONE:
                return code
    say(f"\n{_by_hand(stage)}\n\nThe report, for a browser or a printer:\n{stage.report}")
    return DONE


def _play(step: Step, stage: Stage, tandem: Tandem, say: Say) -> int:
    """Show one step. Gives DONE when it ended as it must, else what the demonstration ends with."""
    if step.prepare is not None:
        say(f"    {step.prepare()}")
    say(f"    $ tandem {' '.join(step.words)}")
    given = () if step.words[0] == "--settings" else ("--settings", _short(stage.settings))
    code = tandem((*given, *step.words))
    if code != step.ending:
        say(f"    exit code {code} where {step.ending} must be: the demonstration has failed")
        return code or INTERNAL
    if step.meaning:
        say(f"    exit code {code}: {step.meaning}")
    return DONE


def _begin(stage: Stage, scale: material.Scale) -> str:
    material.make_secrets(stage.secrets)
    return _told(material.make_sources(stage.sources, scale))


def _change(stage: Stage) -> str:
    amount = material.change_sources(stage.sources, 1)
    return f"{_told(amount)}; {pensions.payments(stage.pensions):,} payments so far"


def _told(amount: material.Amount) -> str:
    return f"{amount.files:,} files, {amount.bytes / 1_000_000:,.0f} MB"


def _rot(stage: Stage) -> str:
    """Copy the second site's repository, the ledger and the settings; flip one bit in the copy."""
    copy = stage.repository("damaged", _TENANT)
    shutil.copytree(stage.repository("secondary", _TENANT), copy)
    with closing(sqlite3.connect(stage.ledger)) as ledger, closing(sqlite3.connect(stage.damaged_ledger)) as other:
        ledger.backup(other)
    text = stage.settings.read_text(encoding="utf-8")
    stage.damaged_settings.write_text(damaged_settings(text), encoding="utf-8")
    return f"flipped one bit in the middle of {_short(damage(copy))}"


def _by_hand(stage: Stage) -> str:
    """How to see with restic alone that both sites hold the same, sound data."""
    lines = ["See for yourself with restic alone. The passwords are this demonstration's own and worth nothing."]
    for tenant in material.TENANTS:
        password = (stage.secrets / f"{tenant}.key").read_text(encoding="ascii").strip()
        first, second = (shlex.quote(_short(stage.repository(vault, tenant))) for vault in ("primary", "secondary"))
        lines += [
            f"\n  {tenant}",
            f"    export RESTIC_PASSWORD={shlex.quote(password)}",
            f"    restic -r {first} check --read-data",
            f"    restic -r {second} check --read-data",
            '    trees() { restic -r "$1" snapshots --json | grep -o \'"tree":"[^"]*\' | sort; }',
            f"    diff <(trees {first}) \\",
            f"         <(trees {second}) && echo both sites hold the same",
        ]
    return "\n".join(lines)


def _short(path: Path) -> str:
    """The path as a person here would type it."""
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


def _busy(refusal: Busy, say: Say) -> int:
    say(f"tandem: {refusal}\n  next: wait for the other to end")
    return BUSY_OR_LOCKED


@contextmanager
def _alone(stage: Stage) -> Iterator[None]:
    """Hold the folder above the stage, so that two demonstrations never clear each other's. Raises Busy."""
    stage.folder.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(stage.folder.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Busy(f"another demonstration is running in {stage.folder}") from None
        yield
    finally:
        os.close(handle)
