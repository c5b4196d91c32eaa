"""What a policy said can be read back from the ledger: a past report is judged by it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.policy import (
    Command,
    Objectives,
    Paths,
    Policy,
    PolicyName,
    Retention,
    SiteName,
    Sqlite,
    TenantName,
    VaultName,
)
from orchestrator.settings import effective_policy_json, policy_told
from orchestrator.settings.fingerprint import fingerprint

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
)
RETENTIONS = st.none() | st.builds(Retention, last=st.integers(1, 99), daily=COUNTS, yearly=COUNTS, minimum=st.just(2))
OBJECTIVES = st.builds(Objectives, rpo=AGES, rto=AGES, replica_lag=AGES, check_age=AGES, restore_test_age=AGES)


@given(source=SOURCES, retention=RETENTIONS, objectives=OBJECTIVES, copied=st.booleans(), read=st.just("1/4"))
def test_a_policy_is_read_back_as_it_was(
    source: Paths | Sqlite | Command, retention: Retention | None, objectives: Objectives, copied: bool, read: str
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
    )
    assert policy_told(effective_policy_json(policy)) == replace(policy, settings_hash=fingerprint(policy))


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"kind":"paths","paths":["/a"]}', '{"kind":"policy"}', '{"kind":"x"}']
)
def test_what_no_policy_ever_said_is_refused(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 (JSON's own error is one too)
        policy_told(text)
