"""What is wrong with one setting hides nothing of the others, however many there are of either."""

from __future__ import annotations

import gc
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.schedule import Schedule
from orchestrator.settings import SettingsError, load
from orchestrator.settings.moments import shortest
from orchestrator.settings.positions import KeyPath
from orchestrator.settings.validation import related

KEYS = st.lists(st.sampled_from(["a", "b", 0, 1]), max_size=4).map(tuple)

WORLD = """
service.name = "Example operator"
sites.one.title = "One"
vaults.one = { site = "one", kind = "local", path = "one" }
tenants.a = { title = "A", password = { env = "A" } }
"""


@given(key=KEYS, others=st.frozensets(KEYS, max_size=4))
def test_keys_are_related_when_one_lies_in_the_other(key: KeyPath, others: frozenset[KeyPath]) -> None:
    assert related(key, others) == any(key[: len(other)] == other[: len(key)] for other in others)


@given(wrong=st.sets(st.integers(0, 19)))
def test_each_policy_is_judged_by_itself(wrong: set[int], tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.getbasetemp() / "judging.toml"
    policies = (
        f'[policies.p{number}]\ntenant = "a"\nvault = "one"\nsource = {{ paths = ["/p{number}"] }}\n'
        f'window = "{"20:00-26:00" if number in wrong else "20:00-06:00"}"\n'
        for number in range(20)
    )
    path.write_text(WORLD + "".join(policies), encoding="utf-8")
    found: set[str] = set()
    try:
        assert len(load(path).policies) == 20
    except SettingsError as error:
        found = {mistake.key for mistake in error.mistakes}
    assert found == {f"policies.p{number}.window" for number in wrong}


@pytest.mark.parametrize("enabled", [True, False])
def test_garbage_is_searched_for_as_before(enabled: bool, tmp_path: Path) -> None:
    path = tmp_path / "settings.toml"
    try:
        for text in (WORLD, "wrong = 1"):
            path.write_text(text, encoding="utf-8")
            (gc.enable if enabled else gc.disable)()
            try:
                load(path)
            except SettingsError:
                assert text != WORLD
            assert gc.isenabled() == enabled
    finally:
        gc.enable()


@pytest.mark.parametrize(
    ("text", "hours"),
    [
        ("daily at 23:30", 24),
        ("weekly on mon-fri at 03:00", 24),
        ("monthly on last", 24),
        ("every 4h", 4),
        ("every 2w", 336),
        ("cron 0 0,22 * * *", 2),
        ("cron 30 8-16/2 * * mon", 2),
        ("cron 0 * * * *", 1),
        ("after backup", None),
    ],
)
def test_the_least_time_between_two_moments(text: str, hours: int | None) -> None:
    assert shortest(Schedule(text)) == (None if hours is None else timedelta(hours=hours))
