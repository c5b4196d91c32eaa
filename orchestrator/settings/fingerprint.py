"""What a policy or a report says, as one text and one hash that depend on nothing else: a past figure's rule."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from datetime import timedelta
from functools import lru_cache
from hashlib import sha256
from types import MappingProxyType
from typing import Any, Final, TypeVar

from jobs.period import PeriodKind
from jobs.policy import Command, Objectives, Own, Paths, Policy, Retention, Sqlite, Timetable
from jobs.reporting import Form, Reporting, ReportKind
from jobs.schedule import Schedule
from jobs.window import Window


def fingerprint(policy: Policy) -> str:
    """SHA-256 (64 hex digits) of `effective_policy_json`."""
    return sha256(effective_policy_json(policy).encode()).hexdigest()


def effective_policy_json(policy: Policy) -> str:
    """The policy's effective settings as canonical JSON: keys sorted, durations in seconds, what is not set left out.

    Neither the order nor the spelling of the settings ("24h", "1d"), nor comments, nor other policies change it.
    It holds no secret (a policy has none), and not `settings_hash` itself.
    """
    return _CANONICAL.encode(_parts(policy))


def report_fingerprint(reporting: Reporting) -> str:
    """SHA-256 (64 hex digits) of `effective_report_json`."""
    return sha256(effective_report_json(reporting).encode()).hexdigest()


def effective_report_json(reporting: Reporting) -> str:
    """A report's effective settings in the same way."""
    return _CANONICAL.encode(_parts(reporting))


_Kind = TypeVar("_Kind", Policy, Reporting)

_CANONICAL: Final = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False)

# What a policy had by itself before it could be said: left out, so that the texts (and hashes) of then stay the same.
_BY_ITSELF: Final[Mapping[str, object]] = MappingProxyType(
    {"timetable": Timetable(), "zone": "UTC", "splay": timedelta(0)}
)


def _parts(value: Any) -> dict[str, object]:  # noqa: ANN401 (any of the kinds below)
    kind, names = _SHAPES[type(value)]
    said = {name: part for name in names if (part := getattr(value, name)) is not None}
    return {"kind": kind, **{name: _TOLD[type(part)](part) for name, part in said.items() if _is_said(name, part)}}


_shared = lru_cache(maxsize=1024)(_parts)  # thousands of policies promise the same few things


def _is_said(name: str, part: object) -> bool:
    return name not in _BY_ITSELF or part != _BY_ITSELF[name]


def _itself(value: object) -> object:
    return value


def _list(items: tuple[object, ...]) -> list[object]:
    return [_TOLD[type(item)](item) for item in items]


def _text(value: Schedule | Window) -> str:
    return value.text


# How each kind is called, and what it is made of; the kind of source is said by its type alone.
_SHAPES: Final[Mapping[type, tuple[str, tuple[str, ...]]]] = MappingProxyType(
    {
        kind: (kind.__name__.lower(), tuple(field.name for field in fields(kind) if field.name != "settings_hash"))
        for kind in (Policy, Paths, Sqlite, Command, Own, Retention, Objectives, Timetable, Reporting)
    }
)
_TOLD: Final[Mapping[type, Callable[[Any], object]]] = MappingProxyType(
    {
        **dict.fromkeys((str, int, bool, Form, PeriodKind, ReportKind), _itself),
        **dict.fromkeys((Schedule, Window), _text),
        **dict.fromkeys((Retention, Objectives, Timetable), _shared),
        **dict.fromkeys((Paths, Sqlite, Command, Own), _parts),
        timedelta: lambda duration: int(duration.total_seconds()),
        tuple: _list,
    }
)


def is_of_report(text: str) -> bool:
    """Whether `effective_report_json` wrote it. In what a policy says, quotation marks have backslashes before them."""
    return f'"kind":"{Reporting.__name__.lower()}"' in text


def policy_told(text: str) -> Policy:
    """The policy that `effective_policy_json` told. Raises ValueError for a text that it never wrote."""
    return _told(text, Policy, "a policy")


def report_told(text: str) -> Reporting:
    """The report that `effective_report_json` told. Raises ValueError for a text that it never wrote."""
    return _told(text, Reporting, "a report")


def _told(text: str, kind: type[_Kind], name: str) -> _Kind:
    try:
        found = _heard(json.loads(text))
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError(f"these are no settings of {name}: {error}") from error
    if not isinstance(found, kind):
        raise ValueError(f"these are no settings of {name}")  # noqa: TRY004 (the text is wrong, not a type of ours)
    return replace(found, settings_hash=sha256(text.encode()).hexdigest())


def _heard(told: object) -> object:
    if isinstance(told, list):
        return tuple(_heard(item) for item in told)
    if not isinstance(told, dict):
        return told
    parts = {name: _heard(part) for name, part in told.items() if name != "kind"}
    return _KINDS[told["kind"]](**parts)


def _objectives(**seconds: int) -> Objectives:
    return Objectives(**{name: timedelta(seconds=age) for name, age in seconds.items()})


def _timetable(**texts: str) -> Timetable:
    return Timetable(**{job: Schedule(text) for job, text in texts.items()})


def _policy(**parts: Any) -> Policy:  # noqa: ANN401 (as untyped as JSON)
    """An earlier version's text has no times in it: they are what a policy has by itself."""
    read = {name: how(parts[name]) for name, how in _TIMES.items() if name in parts}
    return Policy(**{**parts, **read})


def _reporting(**parts: Any) -> Reporting:  # noqa: ANN401 (as untyped as JSON)
    return Reporting(**{**parts, **{name: how(parts[name]) for name, how in _OF_REPORTS.items()}})


def _seconds(number: int) -> timedelta:
    return timedelta(seconds=number)


_TIMES: Final[Mapping[str, Callable[[Any], object]]] = MappingProxyType(
    {"window": Window, "splay": _seconds, "catch_up": _seconds}
)
_OF_REPORTS: Final[Mapping[str, Callable[[Any], object]]] = MappingProxyType(
    {
        "subject": ReportKind,
        "schedule": Schedule,
        "period": PeriodKind,
        "forms": lambda forms: tuple(map(Form, forms)),
        "catch_up": _seconds,
    }
)
_KINDS: Final[Mapping[str, Callable[..., object]]] = MappingProxyType(
    {
        **{kind.__name__.lower(): kind for kind in (Paths, Sqlite, Command, Own, Retention)},
        Objectives.__name__.lower(): _objectives,
        Timetable.__name__.lower(): _timetable,
        Policy.__name__.lower(): _policy,
        Reporting.__name__.lower(): _reporting,
    }
)
