"""An operator in a folder of the bench, and the same work by bare restic: where commands are put together."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.measure import Cost, cost_of
from tests import two_sites

_ROOT: Final = Path(__file__).resolve().parent.parent
_PASSWORD: Final = "of repositories that live for one bench"
_SETTINGS: Final = two_sites.settings("Bench", {"tenant": "Tenant"}, "daily = 14, weekly = 8, monthly = 12", zone="UTC")


def restic() -> str:
    """The restic that both sides use: RESTIC of the environment, or the one on PATH."""
    return os.environ.get("RESTIC", "restic")


def python(*words: str) -> list[str]:
    """The interpreter that runs the bench, as a command."""
    return [sys.executable, *words]


@dataclass(frozen=True, kw_only=True, slots=True)
class Stage:
    """A folder with settings, a password and two vaults for Tandem; everything made by bare restic is below `bare`."""

    folder: Path
    environment: Mapping[str, str]

    @classmethod
    def built(cls, folder: Path, bytecode: Path, policies: Mapping[str, Path]) -> Stage:
        """Write the settings, with one policy for each source folder. Python keeps its byte code in `bytecode`."""
        folder.mkdir(parents=True)
        (folder / "settings.toml").write_text(settings(policies))
        key = folder / "tenant.key"
        key.touch(mode=0o600)
        key.write_text(_PASSWORD)
        return cls.at(folder, bytecode)

    @classmethod
    def at(cls, folder: Path, bytecode: Path) -> Stage:
        """One whose settings and passwords somebody else writes."""
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ}
        return cls(folder=folder, environment={**kept, "LANG": "C.UTF-8", "PYTHONPYCACHEPREFIX": str(bytecode)})

    def command(self, *words: str) -> list[str]:
        """A command of Tandem on this stage, as it would be typed."""
        return python(str(_ROOT / "main.py"), "--settings", str(self.folder / "settings.toml"), *words)

    def tandem(self, *words: str, codes: tuple[int, ...] = (0,)) -> Cost:
        """Run it to its end."""
        return cost_of(self.command(*words), self.environment, codes=codes)

    def restic(self, repository: str, *words: str, source: str | None = None) -> Cost:
        """One command of bare restic on a repository below the folder; `source` is the one that `copy` takes from."""
        more = (
            {}
            if source is None
            else {
                "RESTIC_FROM_REPOSITORY": str(self.folder / source),
                "RESTIC_FROM_PASSWORD_FILE": str(self.folder / "tenant.key"),
            }
        )
        environment = {
            **self.environment,
            **more,
            "RESTIC_REPOSITORY": str(self.folder / repository),
            "RESTIC_PASSWORD_FILE": str(self.folder / "tenant.key"),
            "RESTIC_CACHE_DIR": str(self.folder / "bare" / "cache"),
        }
        return cost_of([restic(), *words], environment)

    def forget(self, *names: str) -> None:
        """Remove what earlier commands left below these names, and let the disk come to rest."""
        for name in names:
            shutil.rmtree(self.folder / name, ignore_errors=True)
            (self.folder / name).unlink(missing_ok=True)
        os.sync()


def settings(policies: Mapping[str, Path] | Iterable[tuple[str, Path]]) -> str:
    """The text of a settings.toml with one policy for each source folder."""
    text = _SETTINGS.format(restic=restic())
    tables = (f'[policies.{name}]\nsource = {{ paths = ["{path}"] }}\n' for name, path in dict(policies).items())
    return text + "\n" + "\n".join(tables)
