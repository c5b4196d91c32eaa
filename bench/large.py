"""A large operator: thousands of policies in one settings file, and a ledger with the past that they would have."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from jobs.history import BackupResult, CheckResult, ReplicateResult, RestoreTestResult, RetentionResult
from jobs.schedule import Schedule, occurrences
from orchestrator import settings as settings_room
from orchestrator.clock import Clock
from orchestrator.ledger.codec import micros, result_text
from orchestrator.ledger.ledger import Ledger
from orchestrator.serve.calendar import Calendar
from orchestrator.serve.housekeeping import Housekeeping
from orchestrator.settings import effective_policy_json

TENANTS: Final = 40
KEPT: Final = 10  # recovery points of each policy at each site
_DAY: Final = timedelta(days=1)
_HEAD: Final = """
[service]
name = "Bench"
timezone = "UTC"
state = "sqlite:///tandem.db"
workdir = "work"
restic = "{restic}"
[serve]
listen = "127.0.0.1:{port}"
log = "text"
shutdown_grace = "10s"
[limits]
runs = {runs}
[sites.one]
title = "One"
[sites.two]
title = "Two"
[vaults.one]
site = "one"
kind = "local"
path = "one"
[vaults.two]
site = "two"
kind = "local"
path = "two"
[defaults.policy]
vault = "one"
replicate = {{ to = "two" }}
retention = {{ last = 3, daily = 14, weekly = 8 }}
objectives = {{ rpo = "26h", rto = "4h", replica_lag = "12h", check_age = "8d", restore_test_age = "8d" }}
verify = {{ read_data = "10%", check = "weekly on {check} at 03:00", restore_test = "weekly on {test} at 04:00" }}
"""
_TENANT: Final = '[tenants.t{number}]\ntitle = "Tenant {number}"\npassword = {{ file = "t{number}.key" }}\n'
_POLICY: Final = """[policies.p{number:05}]
tenant = "t{tenant}"
source = {{ paths = ["{source}"] }}
schedule = "{schedule}"
window = "{window}"
retention = {{ last = 3, daily = 7 }}
objectives = {{ rpo = "26h" }}
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Operator:
    """What the settings of a large operator are made from.

    `schedules` are those of the backups, by turns; copies and retention come after them. Checks and restore tests are
    due in the middle of the week that ends today: neither today nor tomorrow.
    """

    policies: int
    schedules: tuple[str, ...]
    splay: timedelta = timedelta(0)
    unsplayed: int = 0  # so many of those of the first schedule are due on the dot
    runs: int = 2
    port: int = 9377
    source: str = "/srv/data/{number:05}"
    restic: str = "restic"

    def write(self, folder: Path, today: datetime) -> None:
        """Write the settings file, and a password for each tenant."""
        folder.mkdir(parents=True, exist_ok=True)
        for number in range(TENANTS):
            key = folder / f"t{number}.key"
            key.touch(mode=0o600)
            key.write_text(f"of tenant {number}, whose repositories live for one bench")
        (folder / "settings.toml").write_text(self._text(today))

    def _text(self, today: datetime) -> str:
        check, test = (f"{today - ago * _DAY:%a}".lower() for ago in (4, 3))
        head = _HEAD.format(restic=self.restic, port=self.port, runs=self.runs, check=check, test=test)
        if self.splay:
            head += f'splay = "{self.splay.total_seconds():.0f}s"\n'
        tenants = (_TENANT.format(number=number) for number in range(TENANTS))
        return "\n".join([head, *tenants, *map(self._policy, range(self.policies))])

    def _policy(self, number: int) -> str:
        turn, which = divmod(number, len(self.schedules))
        dot = 'splay = "0s"\n' if which == 0 and turn < self.unsplayed else ""
        table = _POLICY.format(
            number=number,
            tenant=number % TENANTS,
            source=self.source.format(number=number),
            schedule=self.schedules[which],
            window="00:30-23:45",
        )
        return table + dot


def spread(now: datetime) -> tuple[str, ...]:
    """Every fourth minute of the day, but for those of the next three hours and of those just past."""
    minutes = (now.replace(minute=0) + timedelta(hours=4, minutes=minute) for minute in range(0, 18 * 60, 4))
    return tuple(f"daily at {at:%H:%M}" for at in minutes)


def write_past(folder: Path, *, days: int, recent: int, now: datetime) -> int:
    """Give these settings a ledger with `days` behind it, and runs for the `recent` of them; how many slots it has.

    Everything went well: each line's moments have slots that succeeded, each of the recent ones has its run, and each
    policy has its recovery points at both sites, older ones gone. One check serves all policies of its repository.
    """
    loaded = settings_room.load(folder / "settings.toml", check_secrets=False)
    began = (now - days * _DAY).replace(hour=0, minute=0, second=0, microsecond=0)
    with Ledger.open(f"sqlite:///{folder / 'tandem.db'}", create=True, now=began) as ledger:
        Calendar(ledger).settle(loaded.policies, began)
        told = [(policy.settings_hash, effective_policy_json(policy)) for policy in loaded.policies]
        ledger.remember_all_settings(told, began)
        schedules = {line.schedule for line in ledger.lines_in_force()}
    with closing(sqlite3.connect(folder / "tandem.db", isolation_level=None)) as connection:
        for statement in ("PRAGMA synchronous=OFF", "PRAGMA cache_size=-65536", "BEGIN", _MOMENT):
            connection.execute(statement)
        connection.executemany("INSERT INTO moment VALUES (?, ?, ?)", _moments(schedules, began, now))
        kept = micros(now - KEPT * _DAY)
        values = {"since": micros(now - recent * _DAY), "kept": kept, "now": micros(now), **_RESULTS}
        for statement in _PAST:
            connection.execute(statement, values)
        slots = int(connection.execute("SELECT count(*) FROM slot").fetchone()[0])
        connection.execute("COMMIT")
    return slots


def tidy(folder: Path, now: datetime) -> tuple[float, float]:
    """Keep the ledger as `serve` does once a day, but without pauses: seconds of it all, and of the longest piece."""
    pieces: list[float] = []
    with Ledger.open(f"sqlite:///{folder / 'tandem.db'}", create=False, now=now) as ledger:
        before = time.perf_counter()

        def ended(_pause: float) -> bool:
            nonlocal before
            pieces.append(time.perf_counter() - before)
            before = time.perf_counter()
            return False

        Housekeeping(ledger, Clock(), ended).step(timedelta(days=3660))
    return sum(pieces), max(pieces)


def _moments(schedules: Iterable[Schedule], began: datetime, now: datetime) -> Iterator[tuple[str, int, str]]:
    for schedule in sorted(schedules, key=lambda schedule: schedule.text):
        for each in occurrences(schedule, "UTC", began, now):
            yield schedule.text, micros(each.at), each.key


# In SQL, because a year of five hundred policies is nearly a million rows.
_MOMENT: Final = "CREATE TEMP TABLE moment (schedule TEXT, at INTEGER, key TEXT, PRIMARY KEY (schedule, at))"
_PAST: Final = (
    """
    INSERT INTO slot
    SELECT policy || '/' || job || '/' || vault || '/' || moment.key, line.id, policy, tenant, job, site, vault,
        source_vault, settings_hash, moment.key, at, at, at + 86400000000, after_job, at + 400000,
        CASE WHEN serves THEN 'succeeded' ELSE 'coalesced' END, CASE WHEN serves THEN 'ran' ELSE 'same-repository' END,
        'run of it ended well', '', CASE WHEN serves THEN policy || job || vault || at END, serves, NULL, at + 60000000
    FROM (SELECT *, job <> 'check' OR policy = min(policy) OVER (PARTITION BY tenant) AS serves FROM line) AS line
    JOIN moment ON moment.schedule = line.schedule ORDER BY at
    """,
    """
    INSERT INTO run (id, job, tenant, policy, site, vault, source_vault, settings_hash, state, owner_host, owner_boot,
        owner_pid, owner_started, started_at, finished_at, note, result, seconds, cpu_seconds, peak_memory, tool, slot,
        proof)
    SELECT run, job, tenant, policy, site, vault, source_vault, settings_hash, 'succeeded', 'bench',
        '00000000-0000-0000-0000-000000000000', 1, '1', due, closed_at, '', CASE job
            WHEN 'backup' THEN :backup WHEN 'replicate' THEN :replicate WHEN 'check' THEN :check
            WHEN 'retention' THEN :retention ELSE :restore_test END,
        8.5, 12.5, 209715200, 'restic 0.14.0', id, CASE job WHEN 'check' THEN '+10%' WHEN 'restore-test' THEN '+a' END
    FROM slot WHERE run IS NOT NULL AND due >= :since
    """,
    """
    INSERT INTO recovery_point (snapshot, origin, tenant, policy, site, vault, run, time, tree, seen_at,
        gone_at, complete)
    SELECT printf('%s%063x', iif(place.vault = slot.vault, 'a', 'b'), slot.rowid), printf('a%063x', slot.rowid),
        tenant, slot.policy, place.site, place.vault, slot.run, due, printf('%064x', slot.rowid), closed_at,
        CASE WHEN due < :kept THEN due + :now - :kept END, TRUE
    FROM slot JOIN (SELECT DISTINCT policy, site, vault FROM line) AS place ON place.policy = slot.policy
    WHERE job = 'backup' AND due >= :since
    """,
    "UPDATE line SET cursor = (SELECT max(at) FROM moment WHERE moment.schedule = line.schedule)",
)
_RESULTS: Final = {
    "backup": result_text(BackupResult(files=20_000, bytes=1 << 30, bytes_added=1 << 20)),
    "replicate": result_text(ReplicateResult(copied=1)),
    "check": result_text(CheckResult(read_data="10%")),
    "retention": result_text(RetentionResult(kept=30)),
    "restore_test": result_text(
        RestoreTestResult(snapshot="a", files_compared=20_000, bytes_compared=1 << 30, seconds=60)
    ),
}
