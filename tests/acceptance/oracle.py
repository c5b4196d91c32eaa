"""What must be true of a ledger after any number of crashes: reckoned with nothing of Tandem's own but its tables.

It knows the schedules that a test wrote into its settings, the ledger's file, and what bare restic lists.
"""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

Key = tuple[str, str, str]  # policy, job, vault
Moment = tuple[str, str, str, datetime]

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
FINAL: Final = ("succeeded", "partial", "failed", "missed", "coalesced", "skipped", "blocked", "interrupted")
GOOD: Final = ("succeeded", "partial")


def every(period: timedelta, since: datetime, until: datetime) -> Iterator[datetime]:
    """The multiples of a period since 1970 that are later than one instant and not later than another."""
    at = EPOCH + ((since - EPOCH) // period + 1) * period
    while at <= until:
        yield at
        at += period


def daily(clock: time, zone: str, since: datetime, until: datetime) -> Iterator[datetime]:
    """A wall time of each day; where the clock shows it twice the first, where never as if it had not jumped yet."""
    day = since.astimezone(ZoneInfo(zone)).date() - timedelta(days=1)
    while (at := datetime.combine(day, clock, ZoneInfo(zone)).astimezone(UTC)) <= until:
        if at > since:
            yield at
        day += timedelta(days=1)


def rows(ledger: Path, question: str, *values: object) -> list[dict[str, Any]]:
    """What a ledger says; it is only read. One that is not there yet says nothing."""
    if not ledger.exists():
        return []
    with closing(sqlite3.connect(f"file:{ledger}?mode=ro", uri=True, timeout=30)) as connection:
        connection.row_factory = sqlite3.Row
        return [dict(row) for row in connection.execute(question, values)]


def slots(ledger: Path) -> list[dict[str, Any]]:
    """Every slot, in the order in which they were due."""
    return rows(ledger, "SELECT * FROM slot ORDER BY due, id")


def moments(ledger: Path) -> list[Moment]:
    """For what moments the ledger has slots. One that a wrong clock made is of no moment: see `void`."""
    return [
        (row["policy"], row["job"], row["vault"], EPOCH + timedelta(microseconds=row["nominal"]))
        for row in slots(ledger)
        if "~" not in row["id"]
    ]


def void(ledger: Path) -> list[dict[str, Any]]:
    """The slots that a wrong clock made."""
    return [row for row in slots(ledger) if "~" in row["id"]]


def differences(due: Iterable[Moment], ledger: Path) -> list[str]:
    """What was due and is lost, and what is there without having been due, or twice."""
    expected, found = Counter(due), Counter(moments(ledger))
    lost = [f"lost: {_words(each)} ({many})" for each, many in sorted((expected - found).items())]
    return lost + [f"too many: {_words(each)} ({many})" for each, many in sorted((found - expected).items())]


def _words(moment: Moment) -> str:
    policy, job, vault, at = moment
    return f"{policy}/{job}/{vault} at {at:%Y-%m-%d %H:%M}"


def contradictions(ledger: Path) -> list[str]:
    """What in a ledger at rest contradicts itself: states, runs of slots, integrity."""
    found = [f"integrity: {row}" for row in rows(ledger, "PRAGMA integrity_check") if "ok" not in row.values()]
    runs = {row["id"]: row for row in rows(ledger, "SELECT * FROM run")}
    good = Counter(run["slot"] for run in runs.values() if run["slot"] and run["state"] in GOOD)
    found += [f"run {run['id']} is still {run['state']}" for run in runs.values() if run["state"] == "running"]
    found += [f"slot {slot} was done {many} times" for slot, many in good.items() if many > 1]
    for slot in slots(ledger):
        own = runs.get(slot["run"] or "")
        if slot["state"] not in FINAL or slot["closed_at"] is None or not slot["why_kind"]:
            found.append(f"slot {slot['id']} has no end: {slot['state']}")
        if slot["state"] in GOOD and (own is None or own["state"] != slot["state"] or own["slot"] != slot["id"]):
            found.append(f"slot {slot['id']} is {slot['state']}, and its run {slot['run']} is not")
        if slot["state"] not in GOOD and good[slot["id"]]:
            found.append(f"slot {slot['id']} is {slot['state']}, and a run of it went well")
        if slot["attempts"] != sum(run["slot"] == slot["id"] for run in runs.values()):
            found.append(f"slot {slot['id']} counts {slot['attempts']} attempts")
    return found


@dataclass(frozen=True)
class Bare:
    """restic without Tandem."""

    program: Path
    passwords: Mapping[str, str]  # by tenant
    cache: Path

    def __call__(self, repository: Path, *words: str) -> subprocess.CompletedProcess[str]:
        environment = {
            **os.environ,
            "RESTIC_PASSWORD": self.passwords[repository.name],
            "RESTIC_CACHE_DIR": str(self.cache),
        }
        argv = [str(self.program), "-r", str(repository), *words]
        return subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=300, check=False)

    def snapshots(self, repository: Path) -> list[dict[str, Any]]:
        """The data snapshots."""
        done = self(repository, "snapshots", "--json", "--no-lock")
        assert done.returncode == 0, done.stderr
        listed: list[dict[str, Any]] = json.loads(done.stdout) or []
        return [each for each in listed if "content=data" in each.get("tags", [])]


def run_of(snapshot: Mapping[str, Any]) -> str:
    """The run that a snapshot says it is of."""
    return next((tag.removeprefix("run=") for tag in snapshot["tags"] if tag.startswith("run=")), "")


def strangers(ledger: Path, repositories: Iterable[Path], bare: Bare) -> list[str]:
    """Snapshots without their run, runs without their snapshot, several snapshots of one run, and standing locks."""
    ended = {row["id"]: row["state"] for row in rows(ledger, "SELECT id, state FROM run WHERE job = 'backup'")}
    points = rows(ledger, "SELECT tenant, vault, snapshot, run FROM recovery_point WHERE gone_at IS NULL")
    found: list[str] = []
    for repository in repositories:
        vault, tenant = repository.parent.name, repository.name
        there = bare.snapshots(repository)
        by_run = Counter(run_of(snapshot) for snapshot in there)
        found += [f"{vault}: {many} snapshots of run {run}" for run, many in by_run.items() if many > 1]
        found += [f"{vault}: run {run} is {ended.get(run)}" for run in by_run if ended.get(run) not in GOOD]
        listed = {snapshot["id"] for snapshot in there}
        known = {point["snapshot"] for point in points if (point["tenant"], point["vault"]) == (tenant, vault)}
        found += [f"{vault}: the ledger does not know {each[:8]}" for each in sorted(listed - known)]
        found += [f"{vault}: the ledger believes in {each[:8]}" for each in sorted(known - listed)]
        for words in (("check",), ("prune",)):
            done = bare(repository, *words)
            if done.returncode:
                found.append(f"{vault}: restic {words[0]} of {tenant}: {done.stderr.strip()[-300:]}")
    return found
