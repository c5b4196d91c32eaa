"""Reports that make themselves, as the settings say them: what holds, what it is known by, what an edit changes."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from jobs.period import PeriodKind
from jobs.reporting import CATCH_UP, EVERYBODY, Form, Reporting, ReportKind
from jobs.schedule import Schedule
from orchestrator.settings import Settings, effective_policy_json, effective_report_json, is_of_report, load
from orchestrator.settings.fingerprint import report_fingerprint


@pytest.fixture
def settings(samples: Path) -> Settings:
    return load(samples / "valid" / "reports.toml")


def test_a_report_is_what_the_settings_say(settings: Settings, samples: Path) -> None:
    whole, short = settings.reports
    assert whole == Reporting(
        name=whole.name,
        subject=ReportKind.INTEGRITY,
        schedule=Schedule("monthly on 1 at 06:00"),
        zone="Europe/Paris",
        period=PeriodKind.MONTH,
        tenant=settings.policies[0].tenant,
        forms=(Form.HTML, Form.JSON),
        folder=str(samples / "valid" / "reports" / "minfopra"),
        catch_up=timedelta(days=90),
        settings_hash=report_fingerprint(whole),
    )
    assert (whole.owner, short.owner) == ("minfopra", EVERYBODY)
    assert (short.zone, short.period, short.catch_up) == ("Africa/Douala", PeriodKind.MONTH, CATCH_UP)
    assert short.forms == (Form.HTML, Form.JSON, Form.TEXT)
    assert settings.scheduled == (*settings.policies, *settings.reports)


def test_its_hash_is_of_what_it_says_and_of_nothing_else(settings: Settings) -> None:
    whole, short = settings.reports
    assert effective_report_json(short) == (
        '{"catch_up":34560000,"folder":"/srv/reports","forms":["html","json","text"],"kind":"reporting",'
        '"name":"short","period":"month","schedule":"daily at 06:00","subject":"integrity","zone":"Africa/Douala"}'
    )
    others = [
        replace(whole, zone="UTC"),
        replace(whole, folder="/elsewhere"),
        replace(whole, forms=(Form.JSON,)),
        replace(whole, tenant=None),
        replace(whole, period=PeriodKind.YEAR),
        replace(whole, schedule=Schedule("monthly on 2 at 06:00")),
        replace(whole, catch_up=timedelta(days=1)),
    ]
    assert len({report_fingerprint(each) for each in (whole, *others)}) == len(others) + 1
    assert report_fingerprint(replace(whole, settings_hash="")) == whole.settings_hash


def test_its_text_is_told_from_a_policys_whatever_is_in_that(settings: Settings) -> None:
    (policy,) = settings.policies
    named = replace(policy, settings_hash="", zone='"kind":"reporting"')
    assert not is_of_report(effective_policy_json(policy))
    assert not is_of_report(effective_policy_json(named))
    assert all(map(is_of_report, map(effective_report_json, settings.reports)))


@pytest.mark.parametrize(
    "wrong",
    [
        {"schedule": Schedule("after backup")},
        {"forms": ()},
        {"forms": (Form.HTML, Form.HTML)},
        {"folder": "reports"},
    ],
)
def test_one_that_could_not_be_made_is_never_born(settings: Settings, wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"report|folder"):
        replace(settings.reports[0], **wrong)  # type: ignore[arg-type]  # each is of its field's type
