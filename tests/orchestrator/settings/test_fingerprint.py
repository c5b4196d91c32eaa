"""What a policy said can be read back from the ledger: a past report is judged by it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.period import PeriodKind
from jobs.policy import (
    Command,
    Objectives,
    Own,
    Paths,
    Policy,
    PolicyName,
    Retention,
    SiteName,
    Source,
    Sqlite,
    TenantName,
    Timetable,
    VaultName,
)
from jobs.reporting import Form, Reporting
from jobs.schedule import Schedule
from jobs.window import Window
from orchestrator.settings import effective_policy_json, effective_report_json, policy_told, report_told
from orchestrator.settings.fingerprint import fingerprint, report_fingerprint

NAMES = st.text(min_size=1, max_size=8)
PATHS = NAMES.map(lambda name: f"/{name}")
AGES = st.none() | st.integers(1, 10**7).map(lambda seconds: timedelta(seconds=seconds))
COUNTS = st.integers(0, 99)
SOURCES = (
    st.builds(
        Paths,
        paths=st.lists(PATHS, min_size=1, max_size=3).map(tuple),
        exclude=st.lists(NAMES, max_size=3).map(tuple),
        one_file_system=st.booleans(),
    )
    | st.builds(Sqlite, path=PATHS)
    | st.builds(Command, command=st.lists(NAMES, min_size=1, max_size=3).map(tuple), filename=st.just("dump.sql"))
    | st.just(Own())
)
RETENTIONS = st.none() | st.builds(Retention, last=st.integers(1, 99), daily=COUNTS, yearly=COUNTS, minimum=st.just(2))
OBJECTIVES = st.builds(
    Objectives, rpo=AGES, rto=AGES, replica_lag=AGES, audit_age=AGES, check_age=AGES, restore_test_age=AGES
)


SCHEDULES = st.none() | st.sampled_from(
    ["daily at 01:30", "weekly on sun at 03:00", "monthly on 1 at 04:00", "every 4h", "cron 30 1 * * mon-fri"]
).map(Schedule)
FOLLOWING = SCHEDULES | st.just(Schedule("after backup"))
TIMETABLES = st.builds(
    Timetable, backup=SCHEDULES, replicate=FOLLOWING, check=FOLLOWING, restore_test=FOLLOWING, retention=FOLLOWING
)
WHEN = st.fixed_dictionaries(
    {
        "timetable": TIMETABLES,
        "zone": st.sampled_from(["UTC", "Africa/Douala"]),
        "window": st.none() | st.sampled_from(["20:00-06:00", "7:00-19:00"]).map(Window),
        "splay": st.integers(0, 10**5).map(lambda seconds: timedelta(seconds=seconds)),
        "catch_up": AGES,
    }
)


@given(
    source=SOURCES, retention=RETENTIONS, objectives=OBJECTIVES, copied=st.booleans(), read=st.just("1/4"), when=WHEN
)
def test_a_policy_is_read_back_as_it_was(
    source: Source, retention: Retention | None, objectives: Objectives, copied: bool, read: str, when: dict[str, Any]
) -> None:
    policy = Policy(
        name=PolicyName("files"),
        tenant=TenantName("minfopra"),
        source=source,
        vault=VaultName("near"),
        site=SiteName("primary"),
        replica=VaultName("far") if copied else None,
        replica_site=SiteName("secondary") if copied else None,
        retention=retention,
        objectives=objectives,
        read_data=read,
        **when,
    )
    assert policy_told(effective_policy_json(policy)) == replace(policy, settings_hash=fingerprint(policy))


@pytest.mark.parametrize("tenant", [None, TenantName("minfopra")])
@pytest.mark.parametrize("period", PeriodKind)
def test_a_report_is_read_back_as_it_was(period: PeriodKind, tenant: TenantName | None) -> None:
    reporting = Reporting(
        name=PolicyName("health"),
        schedule=Schedule("monthly on 1 at 06:00"),
        zone="Africa/Douala",
        period=period,
        tenant=tenant,
        forms=(Form.JSON, Form.HTML),
        folder="/reports",
        catch_up=timedelta(days=3),
    )
    text = effective_report_json(reporting)
    assert report_told(text) == replace(reporting, settings_hash=report_fingerprint(reporting))
    with pytest.raises(ValueError, match="no settings of a policy"):
        policy_told(text)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"kind":"reporting"}', '{"kind":"paths","paths":["/a"]}'])
def test_what_no_report_ever_said_is_refused(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 (JSON's own error is one too)
        report_told(text)


def test_what_an_earlier_version_wrote_is_read_and_would_be_written_so_again() -> None:
    """Its policies had no schedule: neither their text nor its hash may change because others can have one now."""
    text = (
        '{"kind":"policy","name":"files","objectives":{"kind":"objectives","rpo":14400},"read_data":"100%",'
        '"site":"one","source":{"kind":"sqlite","path":"/a.db"},"tenant":"a","vault":"first"}'
    )
    policy = policy_told(text)
    assert (policy.timetable, policy.zone, policy.window) == (Timetable(), "UTC", None)
    assert (policy.splay, policy.catch_up) == (timedelta(0), None)
    assert effective_policy_json(policy) == text


def test_times_are_told_as_the_settings_write_them() -> None:
    when: dict[str, Any] = {"timetable": Timetable(backup=Schedule("daily at 1:30")), "window": Window("20:00 - 6:00")}
    policy = Policy(
        name=PolicyName("own"),
        tenant=TenantName("a"),
        source=Own(),
        vault=VaultName("first"),
        site=SiteName("one"),
        zone="Africa/Douala",
        splay=timedelta(minutes=10),
        catch_up=timedelta(hours=1),
        **when,
    )
    assert effective_policy_json(policy) == (
        '{"catch_up":3600,"kind":"policy","name":"own","objectives":{"kind":"objectives"},"read_data":"100%",'
        '"site":"one","source":{"kind":"own"},"splay":600,"tenant":"a",'
        '"timetable":{"backup":"daily at 01:30","kind":"timetable"},"vault":"first","window":"20:00-06:00",'
        '"zone":"Africa/Douala"}'
    )


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"kind":"paths","paths":["/a"]}',
        '{"kind":"policy"}',
        '{"kind":"x"}',
        '{"kind":"timetable","backup":4}',
    ],
)
def test_what_no_policy_ever_said_is_refused(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 (JSON's own error is one too)
        policy_told(text)
