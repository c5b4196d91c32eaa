"""`slots`, `plan`, `status --nagios` and the report of a period, on a ledger such as `serve` leaves behind."""

from __future__ import annotations

import hashlib
import json
import re
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest

from jobs.dispatch import Closing
from jobs.event import SEVERITIES, Event, Topic
from jobs.failure import Failure, FailureKind
from jobs.history import Job, Lease, Outcome, Owner, RunRecord, RunState
from jobs.notice import Notice
from jobs.slot import Slot, SlotState, Why, WhyKind
from orchestrator import settings as settings_room
from orchestrator.ledger.ledger import Ledger
from orchestrator.serve.calendar import Calendar
from orchestrator.settings import effective_policy_json
from targets.host import this_process
from tests.acceptance.operator import PASSWORD, SETTINGS, Operator

NOW: Final = datetime.now(UTC).replace(microsecond=0)
MONTH: Final = (NOW.replace(day=1) - timedelta(days=1)).replace(day=1, hour=0, minute=0, second=0)  # the last one
OWNER: Final = Owner(host="elsewhere", boot="b/n", pid=7, started="1")
SECOND: Final = timedelta(seconds=1)
SCHEDULED: Final = (
    SETTINGS.replace('timezone = "Africa/Douala"', 'timezone = "UTC"').replace(
        "[defaults.policy]", '[defaults.policy]\nschedule = "daily at 01:30"\nsplay = "10m"'
    )
    + """
[policies.more]
source = {{ paths = ["source"] }}

[tenants.customs]
title = "Customs"
password = {{ file = "customs.key" }}
[policies.declarations]
tenant = "customs"
source = {{ paths = ["source"] }}

[notify.ops]
urls = [{{ file = "url.key" }}]
"""
)


@pytest.fixture
def served(operator: Operator) -> Operator:
    """An operator whose scheduler is there: three policies and a channel."""
    for name, text in (("customs.key", "another one"), ("url.key", f"json://user:{PASSWORD}@127.0.0.1:9")):
        (operator.folder / name).write_text(text)
        (operator.folder / name).chmod(0o600)
    operator.write_settings(SCHEDULED)
    return operator


def ledger(operator: Operator) -> Ledger:
    """Its ledger, made when there is none."""
    return Ledger.open(f"sqlite:///{operator.folder / 'tandem.db'}", create=True, now=NOW)


def look(opened: Ledger, operator: Operator, now: datetime) -> None:
    """What `serve` does first: take over the settings, and write down what is due."""
    policies = settings_room.load(operator.folder / "settings.toml").policies
    opened.remember_all_settings([(each.settings_hash, effective_policy_json(each)) for each in policies], now)
    Calendar(opened).settle(policies, now)


def close(opened: Ledger, slots: Sequence[Slot], state: SlotState, at: datetime) -> None:
    """End slots without a run, and tell of it."""
    why = Why(kind=WhyKind.TOO_LATE, text=f"it was too late: {state}")
    opened.close_slots([Closing(slot=slot, state=state, why=why) for slot in slots], at)


def a_month(operator: Operator) -> None:
    """The last month: slots of each tenant; of each day one is missed, one blocked, one done, and others wait."""
    with ledger(operator) as opened:
        look(opened, operator, MONTH)
        for day in range(1, 6):
            look(opened, operator, MONTH + timedelta(days=day))
            first, second, third, *_ = [slot for slot in opened.open_slots() if slot.job is Job.BACKUP]
            ended = MONTH + timedelta(days=day)
            close(opened, [first], SlotState.MISSED, ended)
            close(opened, [second], SlotState.BLOCKED, ended)
            done(opened, third, ended)
        opened.add_events(
            [
                Event(
                    at=MONTH + timedelta(days=2),
                    topic=topic,
                    severity=SEVERITIES[topic],
                    tenant=settings_room.load(operator.folder / "settings.toml").policies[0].tenant,
                    subject="something",
                    text=f"what is known of {topic}",
                    key="k",
                )
                for topic in Topic
            ]
        )


def done(opened: Ledger, slot: Slot, at: datetime, state: RunState = RunState.SUCCEEDED) -> None:
    """A run of a slot."""
    begun = begin(opened, slot, at - SECOND)
    failure = None if state is RunState.SUCCEEDED else Failure(kind=FailureKind.DISK_FULL, message="it is full")
    opened.finish(begun.id, OWNER, Outcome(state=state, failure=failure), at)


def begin(opened: Ledger, slot: Slot, at: datetime) -> RunRecord:
    """A run of a slot that goes on."""
    record = RunRecord(
        id=f"run-{hashlib.sha256(slot.id.encode()).hexdigest()[:8]}",
        job=slot.job,
        tenant=slot.tenant,
        policy=slot.policy,
        site=slot.site,
        vault=slot.vault,
        source_vault=slot.source_vault,
        settings_hash=slot.settings_hash,
        state=RunState.RUNNING,
        owner=OWNER,
        started_at=at,
    )
    opened.claim(record, slot.id)
    return record


def rows(told: Mapping[str, Any], section: str, table: int = 0) -> list[dict[str, Any]]:
    """The rows of a table of a section in JSON."""
    (part,) = [part for part in told["sections"] if part["key"] == section]
    found: list[dict[str, Any]] = part["tables"][table]["rows"]
    return found


def sql(operator: Operator, statement: str) -> None:
    """What somebody does to the database by hand."""
    with closing(sqlite3.connect(operator.folder / "tandem.db")) as connection, connection:
        assert connection.execute(statement).rowcount == 1


# --- slots ------------------------------------------------------------------------------------------------------------


def test_slots_add_up_with_names_bounds_and_edits_and_filters_combine(served: Operator) -> None:
    a_month(served)
    whole = served.tandem("--json", "slots")
    assert whole.code == 0
    assert whole.json["headline"]["value"] is True
    assert whole.json["summary"]["due"]["value"] == whole.json["summary"]["found"]["value"] == 3 * 4 * 5
    assert whole.json["summary"]["unmade"]["value"] > 0
    counts = {row["state"]["value"]: row["backup"]["value"] for row in rows(whole.json, "states")}
    assert (counts["missed"], counts["blocked"], counts["succeeded"], counts["all"]) == (5, 5, 5, 15)

    served.write_settings(SCHEDULED.replace("[policies.more]", "[policies.others]").replace("01:30", "02:30"))
    with ledger(served) as opened:
        look(opened, served, MONTH + timedelta(days=5, hours=12))
        look(opened, served, MONTH + timedelta(days=6, hours=12))
    assert served.tandem("--json", "slots").json["summary"]["due"]["value"] == 60 + 12 + 12
    of_one = served.tandem("--json", "slots", "more", "files")
    assert (of_one.code, of_one.json["summary"]["due"]["value"]) == (0, 40 + 4 + 8)

    day = (MONTH + timedelta(days=2)).strftime("%Y-%m-%d")
    words = ["--since", day, "--until", day, "--state", "missed", "--state", "blocked", "--limit", "2"]
    some = served.tandem("--json", "slots", *words)
    assert (some.code, some.json["summary"]["due"]["value"]) == (0, 12)
    listed = rows(some.json, "slots")
    assert [row["state"]["value"] for row in listed] in (["blocked", "missed"], ["missed", "blocked"])
    assert all(row["due"]["value"]["due"].startswith(day) for row in listed)
    assert served.tandem("slots", "fils").code == 2


def test_a_slot_that_somebody_deleted_added_or_renamed_is_named(served: Operator) -> None:
    a_month(served)
    day = f"{MONTH + timedelta(days=1):%Y-%m-%d}"
    lost = f"files/backup/primary/L{day}T01:30"
    columns = (
        "policy, tenant, job, site, vault, settings_hash, key, nominal, due, known_at, state, attempts, why_kind,"
        " why_text, why_other, closed_at"
    )
    made = f"FROM slot WHERE id = 'more/retention/primary/L{day}T01:30'"
    sql(served, f"INSERT INTO slot (id, line, {columns}) SELECT 'made-up', line, {columns} {made}")
    sql(served, f"INSERT INTO slot (id, line, {columns}) SELECT 'of-no-line', 99, {columns} {made}")
    sql(served, f"DELETE FROM slot WHERE id = '{lost}'")  # noqa: S608 (a constant)
    told = served.tandem("slots", "--since", day)
    assert told.code == 4
    for name in (lost, "made-up", "of-no-line", "It does not add up", "1 is missing", "2 were never due"):
        assert name in " ".join(told.out.split())
    assert served.tandem("slots", "declarations").code == 0
    assert served.tandem("slots", "--since", f"{MONTH + timedelta(days=4):%Y-%m-%d}").code == 0
    report = served.tandem("--json", "report", "integrity", "--period", f"{MONTH:%Y-%m}").json
    assert report["summary"]["slots"]["value"] is False
    assert "does not add up" in report["headline"]["text"]
    assert {row["slot"]["value"] for row in rows(report, "mismatches")} == {lost, "made-up", "of-no-line"}
    foreign = served.tandem("--json", "report", "integrity", "--period", f"{MONTH:%Y-%m}", "--tenant", "customs")
    assert foreign.json["summary"]["slots"]["value"] is True
    assert "of-no-line" not in foreign.out


# --- report -----------------------------------------------------------------------------------------------------------


def test_a_period_that_is_over_stays_to_the_byte_whatever_is_made_ends_or_is_edited_later(served: Operator) -> None:
    a_month(served)
    end = (MONTH + timedelta(days=32)).replace(day=1)
    with ledger(served) as opened:
        going = begin(opened, opened.open_slots()[0], end - SECOND)
    words = ["report", "integrity", "--period", f"{MONTH:%Y-%m}", "--format"]

    def pages() -> list[str]:
        """All that is said in every form, but for when it was said."""
        texts = [served.tandem(*words, form).out for form in ("text", "json", "html")]
        return [re.sub(rf"{NOW:%Y-%m}-..[T ]..:..(:..Z)?", "then", text) for text in texts]

    before = pages()
    states = {row["state"]["value"]: row["sum"]["value"] for row in rows(json.loads(before[1]), "slots")}
    days = (end - MONTH).days
    assert states["all"] == 3 * 4 * days  # also of the days on which nobody looked
    assert (states["running"], states["missed"], states["blocked"], states["succeeded"]) == (1, 5, 5, 5)
    assert states["due"] == 3 * 4 * days - 16

    served.write_settings(SCHEDULED.replace("01:30", "05:00").replace("[policies.more]", "[policies.others]"))
    with ledger(served) as opened:
        opened.finish(going.id, OWNER, Outcome(state=RunState.SUCCEEDED), end + timedelta(hours=1))
        look(opened, served, NOW - SECOND)
        late = [slot for slot in opened.open_slots() if slot.nominal < end]
        assert len(late) > days
        close(opened, late, SlotState.MISSED, NOW)
    assert pages() == before
    assert served.tandem("slots").code == 0


def test_every_trouble_is_named_in_every_form_and_a_tenant_sees_his_own(served: Operator) -> None:
    a_month(served)
    words = ["report", "integrity", "--period", f"{MONTH:%Y-%m}"]
    for form in ("text", "json", "html"):
        page = served.tandem(*words, "--format", form).out
        for name in ("missed", "blocked", "declarations", "retention-dead", "lock-stale", "clock-stepped"):
            assert name in page, (form, name)
        foreign = served.tandem(*words, "--format", form, "--tenant", "customs").out
        assert "declarations" in foreign
        for name in ("minfopra", "Ministry", "policy files", '"files"', "backup more", "something", "what is known of"):
            assert name not in foreign, (form, name)
    told = served.tandem("--json", *words, "--tenant", "customs").json
    assert {row["sum"]["value"] for row in rows(told, "slots") if row["state"]["value"] == "all"} == {
        4 * ((MONTH + timedelta(days=32)).replace(day=1) - MONTH).days
    }


# --- plan -------------------------------------------------------------------------------------------------------------


def test_a_plan_writes_nothing_and_is_the_same_twice_with_a_ledger_and_without(served: Operator) -> None:
    at = ["--at", "2031-03-01T00:00"]
    bare = served.tandem("--json", "plan", *at, "--for", "2d")
    assert bare.code == 0
    assert bare.out == served.tandem("--json", "plan", *at, "--for", "2d").out
    assert not (served.folder / "tandem.db").exists()
    assert bare.json["summary"]["runs"]["value"] == 3 * 4 * 2

    with ledger(served) as opened:
        look(opened, served, NOW - timedelta(days=3))
        look(opened, served, NOW - timedelta(days=1))
    content = hashlib.sha256((served.folder / "tandem.db").read_bytes()).hexdigest()
    for words in ([], ["files"], ["--for", "3d"], at, [*at, "--for", "1d"], ["--at", "2026-01-01", "--for", "1d"]):
        first = served.tandem("plan", *words)
        assert first.code == 0, first.err
        if "--at" in words:
            assert first.out == served.tandem("plan", *words).out
    assert hashlib.sha256((served.folder / "tandem.db").read_bytes()).hexdigest() == content
    assert "That time is past" in served.tandem("plan", "--at", "2026-01-01").out
    assert "That time is past" not in served.tandem("plan", *at).out

    told = served.tandem("--json", "plan").json
    lines = [row["job"]["value"] for part in told["sections"] for row in part["tables"][0]["rows"]]
    names = {(line["policy"], line["job"], line["vault"]) for line in lines}
    assert len(names) == len(lines) == 3 * 4
    assert told["summary"]["start"]["value"] > 0


def test_a_plan_answers_the_slots_of_a_policy_that_is_gone(served: Operator) -> None:
    with ledger(served) as opened:
        look(opened, served, NOW - timedelta(days=2))
        look(opened, served, NOW)
    served.write_settings(SCHEDULED.replace("[policies.more]", "[policies.others]"))
    told = served.tandem("--json", "plan").json
    gone = rows(told, "policy-more")
    assert {row["what"]["value"] for row in gone} == {"ends skipped"}
    assert [part["title"] for part in told["sections"]] == ["files", "others", "declarations", "more"]
    alone = served.tandem("--json", "plan", "files").json
    assert [part["title"] for part in alone["sections"]] == ["files"]


# --- status -----------------------------------------------------------------------------------------------------------


def nagios(operator: Operator) -> tuple[int, str, dict[str, str]]:
    """Exit code, first line, and the line of each check."""
    told = operator.tandem("status", "--nagios")
    head, *lines = told.out.splitlines()
    assert told.err == ""
    return told.code, head, {line.split(": ")[0].split(" ", 1)[1]: line for line in lines}


def test_a_plugin_of_nagios_tells_how_serve_and_its_channels_stand(served: Operator) -> None:
    now = datetime.now(UTC)  # not when the module was read: minutes count here
    code, head, _ = nagios(served)
    assert (code, head.split(" - ")[0]) == (3, "TANDEM UNKNOWN")
    with ledger(served) as opened:
        lease = opened.take_lease(OWNER, now)
    code, head, lines = nagios(served)
    assert code == 2
    assert " | checks=9 bad=6" in head
    assert lines["scheduler"].startswith("OK scheduler: serve, process 7 on elsewhere runs")
    assert lines["notify ops"] == "OK notify ops: 0 notices in the last four days, none undelivered"
    with ledger(served) as opened:
        opened.queue([_notice(now - timedelta(hours=2))], 0)
        _beat(opened, lease, now - timedelta(minutes=9))
    _, _, lines = nagios(served)
    assert "CRITICAL scheduler: serve, process 7 on elsewhere has given no sign of life for 9 min" in lines["scheduler"]
    assert "1 not delivered yet, the oldest for 2 h" in lines["notify ops"]
    with ledger(served) as opened:
        opened.drop_lease(lease)
        mine = opened.take_lease(this_process(), now)
    assert nagios(served)[2]["scheduler"].startswith("OK ")
    with ledger(served) as opened:
        opened.drop_lease(mine)
        opened.take_lease(replace(this_process(), started="0"), now)
    assert " is dead; it was alive " in nagios(served)[2]["scheduler"]
    with ledger(served) as opened:
        held = opened.lease()
        assert held is not None
        opened.drop_lease(held)
    assert (
        "CRITICAL scheduler: no serve runs, and policies have schedules (next: tandem serve"
        in nagios(served)[2]["scheduler"]
    )
    served.write_settings("[nonsense]\n")
    code, head, _ = nagios(served)
    assert (code, head.split(": ")[0]) == (3, "TANDEM UNKNOWN - the settings are not valid")


def _notice(at: datetime) -> Notice:
    return Notice(
        channel="ops", made_at=at, key="k", severity=SEVERITIES[Topic.FAILED], subject="s", body="b", next_at=at
    )


def _beat(opened: Ledger, lease: Lease, at: datetime) -> None:
    opened.beat(lease, at)


def test_a_status_counts_the_slots_of_a_day(served: Operator) -> None:
    with ledger(served) as opened:
        look(opened, served, NOW - timedelta(days=2))
        look(opened, served, NOW)
        close(opened, opened.open_slots()[-2:], SlotState.MISSED, NOW)
    checks = {row["check"]["value"]: row for row in rows(served.tandem("--json", "status").json, "service")}
    assert re.fullmatch(r"\d+ slots due in the last 24 h: 2 missed", checks["slots"]["text"]["text"])
    assert checks["slots"]["hint"]["text"] == "tandem slots --state missed"
