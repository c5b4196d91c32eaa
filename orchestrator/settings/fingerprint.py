"""What a policy says, as one text and one hash that depend on nothing else: past figures name their rule by it."""

from __future__ import annotations

import json
from dataclasses import fields, is_dataclass
from datetime import timedelta
from hashlib import sha256

from jobs.policy import Policy


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
