"""Defaults mean what writing them out would mean; a hash is of what is meant, not of how it is said."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.policy import Policy, Timetable
from jobs.schedule import Schedule
from orchestrator.settings import effective_policy_json, load, show

WORLD: Final = """
service.name = "Example operator"
sites = { one = { title = "One" }, two = { title = "Two" } }
tenants = { a = { title = "A", password = { env = "A" } }, b = { title = "B", password = { env = "B" } } }
[vaults]
first = { site = "one", kind = "local", path = "first" }
second = { site = "two", kind = "local", path = "second" }
third = { site = "two", kind = "local", path = "third" }
"""
PROMISES: Final = ("rpo", "rto", "replica_lag", "audit_age", "check_age", "restore_test_age")
DURATIONS: Final = st.sampled_from(["90s", "15m", "24h", "1d", "2w"])
SCHEDULES: Final = st.sampled_from(["after backup", "every 4h", "weekly on sun at 03:00"])
Tables = dict[str, Any]
INHERITABLE: Final[st.SearchStrategy[Tables]] = st.fixed_dictionaries(
    {},
    optional={
        "tenant": st.sampled_from(["a", "b"]),
        "vault": st.just("first"),
        "retention": st.dictionaries(st.sampled_from(["daily", "weekly", "yearly", "minimum"]), st.integers(1, 9)),
        "replicate": st.fixed_dictionaries(
            {}, optional={"to": st.sampled_from(["second", "third"]), "schedule": SCHEDULES}
        ),
        "verify": st.fixed_dictionaries(
            {},
            optional={
                "read_data": st.sampled_from(["none", "10%", "1/4"]),
                "check": SCHEDULES,
                "restore_test": SCHEDULES,
            },
        ),
        "schedule": st.sampled_from(["every 2h", "daily at 03:00"]),
        "timezone": st.sampled_from(["UTC", "Africa/Douala"]),
        "window": st.sampled_from(["20:00-06:00", "01:00-19:00"]),  # open whenever something is due
        "splay": st.sampled_from(["0s", "10m"]),
        "catch_up": DURATIONS,
        "retention_schedule": SCHEDULES,
        "objectives": st.dictionaries(st.sampled_from(PROMISES), DURATIONS),
    },
)
# Somebody has to say what is required, the defaults or the policy.
REQUIRED: Final[Tables] = {
    "tenant": "a",
    "vault": "first",
    "replicate": {"to": "second"},
    "retention": {"last": 1},
    "schedule": "daily at 01:30",
}


def deep(default: Tables, own: Tables) -> Tables:
    """The oracle: what it means to write defaults out."""
    merged = {**default, **own}
    for key in default.keys() & own.keys():
        if isinstance(default[key], dict):
            merged[key] = {**default[key], **own[key]}
    return merged


def toml(tables: Tables) -> str:
    def value(of: object) -> str:
        return (
            "{" + ", ".join(f"{k} = {value(v)}" for k, v in of.items()) + "}"
            if isinstance(of, dict)
            else json.dumps(of)
        )

    return "\n".join(f"{key} = {value(below)}" for key, below in tables.items())


def policies(folder: Path, text: str) -> tuple[Policy, ...]:
    path = folder / "settings.toml"
    path.write_text(WORLD + text, encoding="utf-8")
    return load(path).policies


def policy(folder: Path, tables: Tables, source: str = '{ paths = ["/files"] }') -> Policy:
    (made,) = policies(folder, f"[policies.files]\nsource = {source}\n{toml(tables)}")
    return made


@given(default=INHERITABLE, own=INHERITABLE, required_by_default=st.booleans())
def test_defaults_are_as_if_written_out(
    default: Tables, own: Tables, required_by_default: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.getbasetemp()
    default = deep(REQUIRED, default) if required_by_default else default
    own = own if required_by_default else deep(REQUIRED, own)
    source = 'source = { paths = ["/files"] }'
    inherited = policies(folder, f"[defaults.policy]\n{toml(default)}\n[policies.files]\n{source}\n{toml(own)}")
    written_out = policies(folder, f"[policies.files]\n{source}\n{toml(deep(default, own))}")
    assert inherited == written_out


@pytest.mark.parametrize(
    "text",
    [
        '# a comment\n[policies.files]\nvault = "first"\ntenant = "a"\nsource.paths = [\n"/files" ]',
        '[policies]\nfiles = { source = { paths = ["/x/../files"] }, tenant = "a", vault = "first" }',
        '[defaults.policy]\nvault = "first"\n[policies.files]\ntenant = "a"\nsource = { paths = ["/files"] }',
        '[policies.files]\nvault = "first"\ntenant = "a"\nverify = { read_data = "100%" }\nsource.paths = ["/files"]',
        '[policies.files]\nvault = "first"\ntenant = "a"\nsource = { paths = ["/files"], exclude = [] }',
    ],
)
def test_a_hash_is_not_of_how_it_is_said(text: str, tmp_path: Path) -> None:
    plain = policy(tmp_path, {"tenant": "a", "vault": "first"})
    other = '\n[policies.other]\ntenant = "b"\nvault = "second"\nsource = { paths = ["/other"] }\n'
    same = {made.name: made for made in policies(tmp_path, text + other)}[plain.name]
    assert same.settings_hash == plain.settings_hash
    assert same == plain


def test_a_day_is_24_hours(tmp_path: Path) -> None:
    base = {"tenant": "a", "vault": "first"}
    hours, day = (policy(tmp_path, {**base, "objectives": {"rpo": said}}) for said in ("24h", "1d"))
    assert hours.settings_hash == day.settings_hash


@pytest.mark.parametrize(
    ("said", "same"),
    [
        ({"schedule": "daily at 1:30"}, {"schedule": "Daily  at 01:30"}),
        ({"window": "7:00 - 19:00"}, {"window": "07:00-19:00"}),
        ({"splay": "0s"}, {}),
        ({"timezone": "UTC"}, {}),
        (
            {"schedule": "every 4h", "replicate": {"to": "second"}, "retention": {"last": 1}},
            {
                "schedule": "every 4h",
                "replicate": {"to": "second", "schedule": "after backup"},
                "retention": {"last": 1},
                "retention_schedule": "after backup",
            },
        ),
    ],
)
def test_times_that_mean_the_same_have_one_hash(said: Tables, same: Tables, tmp_path: Path) -> None:
    base = {"tenant": "a", "vault": "first"}
    assert policy(tmp_path, {**base, **said}) == policy(tmp_path, {**base, **same})


def test_what_follows_the_backup_by_itself(tmp_path: Path) -> None:
    base = {"tenant": "a", "vault": "first", "schedule": "every 4h", "verify": {"check": "weekly"}}
    backup, weekly, after = (Schedule(text) for text in ("every 4h", "weekly", "after backup"))
    alone = Timetable(backup=backup, check=weekly)
    assert policy(tmp_path, base).timetable == alone
    assert not [row.key for row in show(tmp_path / "settings.toml") if "retention" in row.key or "replicate" in row.key]
    assert policy(tmp_path, {**base, "replicate": {"to": "second"}}).timetable == replace(alone, replicate=after)
    assert policy(tmp_path, {**base, "retention": {"last": 1}}).timetable == replace(alone, retention=after)
    by_hand = {key: below for key, below in base.items() if key != "schedule"}
    copied = policy(tmp_path, {**by_hand, "replicate": {"to": "second"}, "retention": {"last": 1}})
    assert copied.timetable == Timetable(check=weekly)


def test_every_setting_changes_the_hash(tmp_path: Path) -> None:
    base = {"tenant": "a", "vault": "first"}
    changes: list[Tables] = [
        {},
        {"tenant": "b"},
        {"vault": "second"},
        {"retention": {"last": 1}},
        {"retention": {"last": 1, "minimum": 1}},
        {"replicate": {"to": "second"}},
        {"replicate": {"to": "third"}},
        {"verify": {"read_data": "10%"}},
        {"schedule": "daily at 01:30"},
        {"schedule": "every 4h"},
        {"schedule": "every 4h", "replicate": {"to": "second"}},
        {"schedule": "every 4h", "replicate": {"to": "second", "schedule": "every 8h"}},
        {"schedule": "every 4h", "retention": {"last": 1}},
        {"schedule": "every 4h", "retention": {"last": 1}, "retention_schedule": "every 8h"},
        {"verify": {"audit": "weekly"}},
        {"verify": {"check": "weekly"}},
        {"verify": {"restore_test": "weekly"}},
        {"timezone": "Africa/Douala"},
        {"window": "20:00-06:00"},
        {"splay": "10m"},
        {"catch_up": "2h"},
        *({"objectives": {name: "1h"}} for name in PROMISES),
    ]
    sources = [
        '{ paths = ["/other"] }',
        "{ tandem = true }",
        '{ paths = ["/files", "/other"] }',
        '{ paths = ["/files"], exclude = ["*.tmp"] }',
        '{ paths = ["/files"], one_file_system = true }',
        '{ sqlite = { path = "/files" } }',
        '{ command = { run = ["/files"], filename = "x" } }',
        '{ command = { run = ["/files"], filename = "y" } }',
    ]
    made = [policy(tmp_path, {**base, **change}) for change in changes]
    made += [policy(tmp_path, base, source) for source in sources]
    assert len({one.settings_hash for one in made}) == len(made)
    assert len({effective_policy_json(one) for one in made}) == len(made)


def test_the_canonical_text_is_frozen(tmp_path: Path) -> None:
    """Past figures name their rule by this text's hash: a change here orphans every one of them."""
    tables = {"tenant": "a", "vault": "first", "replicate": {"to": "second"}, "objectives": {"rpo": "4h"}}
    made = policy(tmp_path, {**tables, "retention": {"last": 2}}, '{ paths = ["/é"], exclude = ["*.tmp"] }')
    assert effective_policy_json(made) == (
        '{"kind":"policy","name":"files","objectives":{"kind":"objectives","rpo":14400},"read_data":"100%",'
        '"replica":"second","replica_site":"two","retention":{"daily":0,"hourly":0,"kind":"retention","last":2,'
        '"minimum":3,"monthly":0,"weekly":0,"yearly":0},"site":"one","source":{"exclude":["*.tmp"],"kind":"paths",'
        '"one_file_system":false,"paths":["/é"]},"tenant":"a","vault":"first"}'
    )
    assert made.settings_hash == "be58e22ea00e409cd20d13aeb34192c17ed6a395ecefcad792c4414c47d2246d"
