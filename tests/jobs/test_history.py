"""States and what may follow them; one kind of result for each job."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, fields
from datetime import UTC, datetime
from typing import get_args

import pytest

from jobs.history import (
    TRANSITIONS,
    BackupResult,
    Job,
    KnownRepository,
    Outcome,
    RecoveryPoint,
    Result,
    RunRecord,
    RunState,
)
from jobs.policy import TenantName, VaultName

FINAL = [state for state in RunState if state is not RunState.RUNNING]


def test_every_state_says_what_may_follow() -> None:
    assert set(TRANSITIONS) == set(RunState)


@pytest.mark.parametrize("state", FINAL)
def test_nothing_follows_a_final_state(state: RunState) -> None:
    assert not TRANSITIONS[state]


def test_a_running_run_ends_in_any_final_state_but_skipped() -> None:
    assert TRANSITIONS[RunState.RUNNING] == set(FINAL) - {RunState.SKIPPED}


def test_transitions_cannot_be_changed() -> None:
    with pytest.raises(TypeError):
        TRANSITIONS[RunState.FAILED] = frozenset(RunState)  # type: ignore[index]  # (what the test is about)


def test_every_job_has_a_result_of_its_own_kind() -> None:
    kinds = [kind().kind for kind in get_args(Result)]
    assert sorted(kinds) == sorted(Job)


@pytest.mark.parametrize("value", [RunRecord, RecoveryPoint, Outcome, KnownRepository, *get_args(Result)])
def test_what_happened_is_a_value_with_named_fields(value: type) -> None:
    assert value.__dataclass_params__.frozen  # type: ignore[attr-defined]  # (dataclass internals)
    assert all(field.kw_only for field in fields(value))
    assert not hasattr(value, "__dict__") or "__slots__" in vars(value)


def test_a_result_cannot_be_changed() -> None:
    result = BackupResult(files=1)
    with pytest.raises(FrozenInstanceError):
        result.files = 2  # type: ignore[misc]  # (what the test is about)


def test_a_repository_is_known_by_tenant_and_vault() -> None:
    moment = datetime(2026, 11, 21, tzinfo=UTC)
    known = KnownRepository(
        tenant=TenantName("north"), vault=VaultName("one"), config_sha256="00", first_seen_at=moment
    )
    assert known.key == ("north", "one")
