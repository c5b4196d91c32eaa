"""What restic 0.14.0, 0.18.0 and 0.19.1 once said (tests/fixtures/restic): one section for each call."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final

from jobs.history import Usage
from targets.process import Ended, Ending
from targets.restic.versions import Version

FOLDER: Final = Path(__file__).parents[2] / "fixtures" / "restic"
VERSIONS: Final = (Version(0, 14, 0), Version(0, 18, 0), Version(0, 19, 1))

_SECTION: Final = re.compile(
    r"^### (?P<name>\S+) :: restic (?P<arguments>.*)\nrc=(?P<code>\d+)\n-- standard output\n(?P<output>.*)"
    r"-- standard error\n(?P<errors>.*)\Z",
    re.DOTALL | re.MULTILINE,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Recorded:
    """One call, its exit status and what it said."""

    version: Version
    code: int
    output: bytes
    errors: bytes

    def ended(self, ending: Ending = Ending.BY_ITSELF) -> Ended:
        """As targets.process would tell it."""
        return Ended(code=self.code, ending=ending, errors=self.errors, usage=Usage())


@lru_cache
def recorded(version: Version) -> Mapping[str, Recorded]:
    """All calls of one version, by name."""
    text = (FOLDER / f"restic-{version.major}.{version.minor}.txt").read_text(encoding="utf-8")
    calls: dict[str, Recorded] = {}
    for section in re.split(r"(?m)^(?=### \S+ :: restic )", text)[1:]:
        found = _SECTION.match(section)
        assert found, section[:200]
        calls[found["name"]] = Recorded(
            version=version,
            code=int(found["code"]),
            output=found["output"].encode(),
            errors=found["errors"].encode(),
        )
    return calls
