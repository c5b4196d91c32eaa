"""Which restic is installed, which is too old, and what a version can do. Seen in 0.14.0, 0.18.0 and 0.19.1."""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import Enum
from types import MappingProxyType
from typing import Final, NamedTuple


class Version(NamedTuple):
    """A version of restic; compares as people expect."""

    major: int
    minor: int
    patch: int = 0

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}.{self.patch}"


OLDEST: Final = Version(0, 14)


class Feature(Enum):
    """What not every version can do."""

    RESTORE_TELLS_PROGRESS = "restore --json writes status lines"
    EXIT_CODES = "10, 11 and 12 name the failure"


# https://github.com/restic/restic/blob/master/CHANGELOG.md
SINCE: Final[Mapping[Feature, Version]] = MappingProxyType(
    {
        Feature.RESTORE_TELLS_PROGRESS: Version(0, 16),
        Feature.EXIT_CODES: Version(0, 17),
    }
)

_LINE: Final = re.compile(r"^restic (\d+)\.(\d+)(?:\.(\d+))?", re.MULTILINE)


def parse_version(said: str) -> Version | None:
    """The version in what `restic version` printed, or None when that was not restic."""
    found = _LINE.search(said)
    return found and Version(*(int(number or 0) for number in found.groups()))


def can(version: Version, feature: Feature) -> bool:
    """Whether this version has the feature."""
    return version >= SINCE[feature]
