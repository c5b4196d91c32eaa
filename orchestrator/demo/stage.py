"""Where the demonstration takes place: the names of its files, all below one folder, and what must be so at first."""

from __future__ import annotations

import re
import shutil
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from jobs.policy import Command, Own, Paths, Source
from orchestrator.settings import LocalVaultSettings, Settings, load

FOLDER: Final = Path("var", "demo")  # below the folder of settings.toml, which names the same places


class NotADemoError(Exception):
    """The settings name something outside the demonstration's folder, which it must never touch."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Stage:
    """The demonstration's folder and the settings that it runs. Both absolute."""

    folder: Path
    settings: Path

    @classmethod
    def beside(cls, settings: Path) -> Stage:
        """The stage that belongs to a settings file."""
        return cls(folder=settings.absolute().parent / FOLDER, settings=settings.absolute())

    @property
    def sources(self) -> Path:
        """What the tenants' servers hold."""
        return self.folder / "sources"

    @property
    def pensions(self) -> Path:
        """The live database."""
        return self.sources / "minfopra" / "pensions.db"

    @property
    def secrets(self) -> Path:
        """The tenants' throw-away passwords, one file each."""
        return self.folder / "secrets"

    @property
    def ledger(self) -> Path:
        """The ledger that settings.toml names."""
        return self.folder / "tandem.db"

    @property
    def damaged_ledger(self) -> Path:
        """The ledger's copy that goes with the damaged repository."""
        return self.folder / "damaged.db"

    @property
    def report(self) -> Path:
        """Where the report is written."""
        return self.folder / "report.html"

    @property
    def damaged_settings(self) -> Path:
        """settings.toml as it would be if the secondary site's vault were the damaged copy."""
        return self.folder / "damaged.toml"

    def repository(self, vault: str, tenant: str) -> Path:
        """A tenant's repository in the vault `primary`, `secondary` or `damaged`."""
        return self.folder / vault / tenant


def clear(stage: Stage) -> None:
    """Remove the stage's folder and nothing else: a link in its place is taken away, never followed."""
    if stage.folder.is_symlink():
        stage.folder.unlink()
    elif stage.folder.exists():
        shutil.rmtree(stage.folder)


def insist(stage: Stage) -> None:
    """Raise NotADemoError unless the settings are the demonstration's own; SettingsError when they are not valid."""
    outside = [
        what
        for what, path in _places(load(stage.settings, check_secrets=False))
        if not path.is_relative_to(stage.folder)
    ]
    if outside:
        raise NotADemoError(
            f"the demonstration only runs settings whose every place lies below {stage.folder}; "
            f"{stage.settings} names others: {', '.join(outside)}"
        )


def _places(settings: Settings) -> Iterator[tuple[str, Path]]:
    yield "[service] workdir", settings.service.workdir
    yield "[service] state", _file_of(settings.service.state)
    for name, vault in settings.vaults.items():
        yield f"[vaults.{name}]", vault.path if isinstance(vault, LocalVaultSettings) else Path("/")
    for policy in settings.policies:
        for path in _read_by(policy.source):
            yield f"[policies.{policy.name}] source", Path(path)


def _file_of(state: object) -> Path:
    """The ledger's file; the root folder, which is never inside, for a ledger that is elsewhere."""
    return (
        Path(state.removeprefix("sqlite:///"))
        if isinstance(state, str) and state.startswith("sqlite:///")
        else Path("/")
    )


def _read_by(source: Source) -> tuple[str, ...]:
    if isinstance(source, Command):
        return ()  # a command only reads
    if isinstance(source, Own):
        return ()  # and the ledger and the settings have lines of their own above
    return source.paths if isinstance(source, Paths) else (source.path,)


# settings.toml's places, as they are called in damaged.toml, which lies in the folder itself.
_ELSEWHERE: Final = {"secondary": "damaged", "tandem.db": "damaged.db", "work": "damaged-work"}


def damaged_settings(text: str) -> str:
    """settings.toml's text with the secondary vault, the ledger and the scratch space exchanged for the copies.

    Raises ValueError when the text names no such places, or is no TOML afterwards.
    """
    seen: set[str] = set()

    def place(match: re.Match[str]) -> str:
        seen.add(match[1])
        return _ELSEWHERE.get(match[1], match[1]) + match[2]

    changed = re.sub(rf"{re.escape(FOLDER.as_posix())}/([\w.-]+)(/|\")", place, text)
    if missing := _ELSEWHERE.keys() - seen:
        raise ValueError(f"the settings do not name {', '.join(sorted(missing))} below {FOLDER}")
    tomllib.loads(changed)
    return changed
