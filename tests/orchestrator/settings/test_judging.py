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


def complaints(path: Path, policy: str, state: str = "sqlite:///tandem.db") -> list[str]:
    """What is wrong with the settings of one policy of tenant `a`."""
    of_all = f'service.state = "{state}"\n[policies.p]\ntenant = "a"\nvault = "one"\n'
    path.write_text(WORLD + of_all + policy, encoding="utf-8")
    try:
        load(path)
    except SettingsError as error:
        return [f"{mistake.key}: {mistake.what}" for mistake in error.mistakes]
    return []


@pytest.mark.parametrize("job", ["audit", "check", "restore_test"])
def test_a_moment_of_any_job_is_put_off_by_less_than_the_time_to_its_next(job: str, tmp_path: Path) -> None:
    policy = f'source = {{ paths = ["/p"] }}\nverify = {{ {job} = "every 4h" }}\n'
    (told,) = complaints(tmp_path / "s.toml", policy + 'splay = "4h"\n')
    assert told.startswith('policies.p.splay: policy "p": must be less than "4h"')
    assert complaints(tmp_path / "s.toml", policy + 'splay = "3h"\n') == []


def test_only_tandems_own_backup_needs_its_ledger_in_a_file(tmp_path: Path) -> None:
    server = "postgresql+psycopg://tandem@db/tandem"
    assert complaints(tmp_path / "s.toml", 'source = { paths = ["/p"] }\n', server) == []
    (told,) = complaints(tmp_path / "s.toml", "source = { tandem = true }\n", server)
    assert told.startswith("policies.p.source.tandem: the ledger is on a PostgreSQL server")


@pytest.mark.parametrize(
    ("window", "opens"), [("00:30-02:00", True), ("00:00-00:30", False), ("01:10-02:00", True), ("01:11-02:00", False)]
)
def test_a_window_is_open_by_the_clocks_of_its_zone(window: str, opens: bool, tmp_path: Path) -> None:
    """What comes every so often is due by UTC: in Douala at one o'clock."""
    policy = f'source = {{ paths = ["/p"] }}\nschedule = "every 24h"\ncatch_up = "11m"\nwindow = "{window}"\n'
    told = complaints(tmp_path / "s.toml", policy + 'timezone = "Africa/Douala"\n')
    assert (told == []) == opens
    of_the_service = (tmp_path / "s.toml").read_text().replace('timezone = "Africa/Douala"\n', "")
    (tmp_path / "s.toml").write_text('service.timezone = "Africa/Douala"\n' + of_the_service, encoding="utf-8")
    if opens:
        assert load(tmp_path / "s.toml").policies
    else:
        with pytest.raises(SettingsError, match="is never open in time"):
            load(tmp_path / "s.toml")


@pytest.mark.parametrize(
    ("period", "least"), [("day", 93), ("week", 93), ("month", 93), ("quarter", 123), ("year", 397)]
)
def test_records_outlast_the_reports_that_need_them(period: str, least: int, tmp_path: Path) -> None:
    path = tmp_path / "s.toml"
    report = f'[reports.r]\nschedule = "monthly on 1"\nperiod = "{period}"\nfolder = "/r"\n'
    report += '[reports.daily]\nschedule = "daily"\nperiod = "day"\nfolder = "/r"\n'
    path.write_text(f'{WORLD}\n[ledger]\nkeep = "{least}d"\n{report}', encoding="utf-8")
    assert load(path).keep == timedelta(days=least)
    path.write_text(f'{WORLD}\n[ledger]\nkeep = "{least - 1}d"\n{report}', encoding="utf-8")
    with pytest.raises(SettingsError) as refused:
        load(path)
    (mistake,) = refused.value.mistakes
    assert (mistake.key, mistake.place is not None) == ("ledger.keep", True)
    assert f'"{least}d"' in mistake.what
