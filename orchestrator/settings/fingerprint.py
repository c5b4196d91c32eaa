"""What a policy says, as one text and one hash that depend on nothing else: past figures name their rule by it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass, replace
from datetime import timedelta
from hashlib import sha256
from types import MappingProxyType
from typing import Final

from jobs.policy import Command, Objectives, Paths, Policy, Retention, Sqlite


def fingerprint(policy: Policy) -> str:
    """SHA-256 (64 hex digits) of `effective_policy_json`."""
    return sha256(effective_policy_json(policy).encode()).hexdigest()


def effective_policy_json(policy: Policy) -> str:
    """The policy's effective settings as canonical JSON: keys sorted, durations in seconds, what is not set left out.

    Neither the order nor the spelling of the settings ("24h", "1d"), nor comments, nor other policies change it.
    It holds no secret (a policy has none), and not `settings_hash` itself.
    """
    told = _told(policy)
    return json.dumps(told, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _told(value: object) -> object:
    if is_dataclass(value):
        parts = {field.name: _told(getattr(value, field.name)) for field in fields(value)}
        said = {name: part for name, part in parts.items() if part is not None and name != "settings_hash"}
        return {"kind": type(value).__name__.lower(), **said}  # the kind of source is said by its type alone
    if isinstance(value, tuple):
        return [_told(item) for item in value]
    return int(value.total_seconds()) if isinstance(value, timedelta) else value


def policy_told(text: str) -> Policy:
    """The policy that `effective_policy_json` told. Raises ValueError for a text that it never wrote."""
    try:
        policy = _heard(json.loads(text))
    except (KeyError, TypeError) as error:
        raise ValueError(f"these are no settings of a policy: {error}") from error
    if not isinstance(policy, Policy):
        raise ValueError("these are no settings of a policy")  # noqa: TRY004 (the text is wrong, not a type of ours)
    return replace(policy, settings_hash=sha256(text.encode()).hexdigest())


def _heard(told: object) -> object:
    if isinstance(told, list):
        return tuple(_heard(item) for item in told)
    if not isinstance(told, dict):
        return told
    parts = {name: _heard(part) for name, part in told.items() if name != "kind"}
    return _KINDS[told["kind"]](**parts)


def _objectives(**seconds: int) -> Objectives:
    return Objectives(**{name: timedelta(seconds=age) for name, age in seconds.items()})


_KINDS: Final[Mapping[str, Callable[..., object]]] = MappingProxyType(
    {
        **{kind.__name__.lower(): kind for kind in (Policy, Paths, Sqlite, Command, Retention)},
        Objectives.__name__.lower(): _objectives,
    }
)
