"""What holds in the end, key by key, and where each value came from. References are shown, never secrets."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final

from jobs.schedule import Schedule
from orchestrator.settings.documents import Documents
from orchestrator.settings.load import examine
from orchestrator.settings.mistakes import dotted
from orchestrator.settings.model import PolicyTable, SourceTable
from orchestrator.settings.positions import KeyPath
from orchestrator.settings.references import Table
from orchestrator.settings.units import format_duration

BUILT_IN: Final = "built-in default"


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One effective setting: its dotted key, its value as TOML writes it, and where it came from.

    `origin` is "FILE:LINE", "[defaults.policy] FILE:LINE" or "built-in default".
    """

    key: str
    value: str
    origin: str


def show(settings_path: Path) -> tuple[Row, ...]:
    """The effective settings, section by section. Raises SettingsError. Secret files are not looked at."""
    seen = examine(settings_path, check_secrets=False)
    whole = seen.table.model_copy(update={"policies": seen.policies})
    return tuple(_row(seen.documents, key, default) for key, default in _leaves((), whole) if key[:1] != ("defaults",))


def _leaves(key: KeyPath, value: object) -> Iterator[tuple[KeyPath, object]]:
    """Every key that has a value, with that value; what is not set is left out."""
    if isinstance(value, PolicyTable):  # a policy reads best with its source before what is promised of it
        value = {name: getattr(value, name) for name in ("tenant", "source", *type(value).model_fields)}
    elif isinstance(value, SourceTable) and value.paths is None:
        value = {name: getattr(value, name) for name in value.model_fields_set}
    elif isinstance(value, Table):
        value = {name: getattr(value, name) for name in type(value).model_fields}
    if isinstance(value, dict):
        for name, below in value.items():
            yield from _leaves((*key, name), below)
    elif value is not None:
        yield key, value


def _row(documents: Documents, key: KeyPath, default: object) -> Row:
    """The value as it is written, if it is written; paths are absolute in the tree already."""
    written, origin = documents.value(key), ""
    if key in documents.built_in:
        origin = BUILT_IN
    elif written is not None:
        origin = str(documents.place(key))
    elif key[0] == "policies":
        inherited = ("defaults", "policy", *key[2:])
        written = documents.value(inherited)
        origin = "" if written is None else f"[defaults.policy] {documents.place(inherited)}"
    return Row(key=dotted(key), value=_toml(default if written is None else written), origin=origin or BUILT_IN)


def _toml(value: object) -> str:
    if isinstance(value, timedelta):
        return f'"{format_duration(value)}"'
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_toml, value))}]"
    if isinstance(value, Schedule):
        value = value.text
    if isinstance(value, dict):
        return f"{{ {', '.join(f'{name} = {_toml(below)}' for name, below in value.items())} }}"
    return json.dumps(value, ensure_ascii=False)
