"""Two manifests compared item by item, in one pass and constant memory: what was promised against what was found.

Nothing is held against what was changing at the source: see `Entry.changed` and `Entry.unreadable`. A folder that was
changing proves nothing about what appeared in it meanwhile; what was in it before and after the run must be there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from jobs.manifest import UNKNOWN, Entry, Kind, ManifestError, decode, order, shown


class Item(StrEnum):
    """In what an entry differs."""

    MISSING = "missing"
    UNEXPECTED = "unexpected"
    TYPE = "type"
    SIZE = "size"
    MODE = "mode"
    OWNER = "owner"
    MTIME = "mtime"
    LINK = "link"
    CONTENT = "content"


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """One item in which one entry differs; `expected` and `found` are texts for people."""

    path: str
    item: Item
    expected: str = ""
    found: str = ""

    @property
    def words(self) -> str:
        """A sentence for people, printable, on one line."""
        path = shown(self.path)
        if self.item is Item.MISSING:
            return f"{path} is missing"
        if self.item is Item.UNEXPECTED:
            return f"{path} is there, but the source did not hold it"
        return f"{path}: the {self.item} is {shown(self.found)}, at the source it was {shown(self.expected)}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Tally:
    """What was compared. `files` and `bytes` are those whose content was compared, whatever came of it."""

    entries: int = 0
    files: int = 0
    bytes: int = 0
    changed: int = 0  # files that were changing at the source: they are there (or went away), and no more is proven
    unreadable: int = 0  # could not be read at the source
    appeared: int = 0  # not in the manifest, but in folders that were changing at the source
    not_compared: int = 0  # sockets, pipes and devices
    differences: int = 0


class Comparison:
    """The differences between two manifests' lines. To be iterated once, to the end; then ask `tally`.

    Raises ManifestError where lines are damaged or out of order. `owners` is False where the restore could not set
    owners (not root).
    """

    def __init__(self, expected: Iterable[bytes], found: Iterable[bytes], *, owners: bool) -> None:
        self._expected, self._found = expected, found
        self._checks = CHECKS if owners else WITHOUT_OWNERS
        self._loose: list[str] = []  # folders on the way to here that may hold what the source's manifest lacks
        self._entries = self._files = self._bytes = 0
        self._changed = self._unreadable = self._appeared = self._not_compared = self._differences = 0

    def __iter__(self) -> Iterator[Difference]:
        for expected, found in _paired(self._expected, self._found):
            for difference in self._judge(expected, found):
                self._differences += 1
                yield difference

    @property
    def tally(self) -> Tally:
        """What was compared so far."""
        return Tally(
            entries=self._entries,
            files=self._files,
            bytes=self._bytes,
            changed=self._changed,
            unreadable=self._unreadable,
            appeared=self._appeared,
            not_compared=self._not_compared,
            differences=self._differences,
        )

    def _judge(self, expected: Entry | None, found: Entry | None) -> Iterator[Difference]:
        if expected is None:
            return self._unexpected(found) if found else iter(())
        self._entries += 1
        self._changed += expected.changed and expected.type == "file"
        self._unreadable += expected.unreadable and not expected.changed
        self._not_compared += expected.type == "other"
        if expected.changed or expected.unreadable:
            self._leave(expected.path)
            self._loose.append(expected.path)
        if found is None:
            return _missing(expected)
        if expected.type != found.type:
            return _other_type(expected, found)
        return self._same_type(expected, found)

    def _unexpected(self, found: Entry) -> Iterator[Difference]:
        self._leave(found.path)
        if self._loose and self._loose[-1] == (found.path.rpartition("/")[0] or "/"):
            self._loose.append(found.path)
            self._appeared += 1
        else:
            yield Difference(path=found.path, item=Item.UNEXPECTED)

    def _leave(self, path: str) -> None:
        """Forget the folders that do not lead to `path`."""
        while self._loose and not path.startswith(self._loose[-1].rstrip("/") + "/"):
            self._loose.pop()

    def _same_type(self, expected: Entry, found: Entry) -> Iterator[Difference]:
        if expected.changed or expected.unreadable:
            return
        differs = False
        for item, value, text in self._checks[expected.type]:
            if value(expected) in _NOT_KNOWN or value(expected) == value(found):
                continue
            if item is Item.CONTENT and differs:
                continue  # another size says it already
            differs = item is Item.SIZE
            yield Difference(path=expected.path, item=item, expected=text(expected), found=text(found))
        if expected.type == "file":
            self._files += 1
            self._bytes += expected.size


def _missing(expected: Entry) -> Iterator[Difference]:
    if not expected.unreadable and expected.type != "other":
        yield Difference(path=expected.path, item=Item.MISSING)


def _other_type(expected: Entry, found: Entry) -> Iterator[Difference]:
    if not expected.unreadable:
        yield Difference(path=expected.path, item=Item.TYPE, expected=expected.type, found=found.type)


def _paired(expected: Iterable[bytes], found: Iterable[bytes]) -> Iterator[tuple[Entry | None, Entry | None]]:
    """The two lists joined on their paths."""
    left, right = _keyed(expected), _keyed(found)
    (here, one), (there, other) = next(left), next(right)
    while one or other:
        if other is None or (one is not None and here < there):
            yield one, None
            here, one = next(left)
        elif one is None or there < here:
            yield None, other
            there, other = next(right)
        else:
            yield one, other
            (here, one), (there, other) = next(left), next(right)


def _keyed(lines: Iterable[bytes]) -> Iterator[tuple[str, Entry | None]]:
    """Each entry with its key; after the last one None, for ever."""
    last = ""
    for line in lines:
        entry = decode(line)
        key = order(entry.path)
        if key <= last:
            raise ManifestError(f"the manifest is out of order at {shown(entry.path)}")
        last = key
        yield key, entry
    while True:
        yield "", None


_NOT_KNOWN: Final = frozenset((UNKNOWN, None, (UNKNOWN, UNKNOWN)))


def _instant(nanoseconds: int) -> str:
    """UTC with nanoseconds, and the bare number where the calendar ends (before the year 1, after 9999)."""
    seconds, rest = divmod(nanoseconds, 1_000_000_000)
    try:
        moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
    except OverflowError:
        return f"{nanoseconds} ns"
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{rest:09d}Z"


_Check = tuple[Item, Callable[[Entry], object], Callable[[Entry], str]]
_SIZE: Final[_Check] = (Item.SIZE, lambda entry: entry.size, lambda entry: f"{entry.size} bytes")
_MODE: Final[_Check] = (Item.MODE, lambda entry: entry.mode, lambda entry: f"{entry.mode:04o}")
_OWNER: Final[_Check] = (Item.OWNER, lambda entry: (entry.uid, entry.gid), lambda entry: f"{entry.uid}:{entry.gid}")
_MTIME: Final[_Check] = (Item.MTIME, lambda entry: entry.mtime_ns, lambda entry: _instant(entry.mtime_ns))
_LINK: Final[_Check] = (Item.LINK, lambda entry: entry.link, lambda entry: str(entry.link))
_CONTENT: Final[_Check] = (
    Item.CONTENT,
    lambda entry: entry.sha256,
    lambda entry: f"SHA-256 {entry.sha256}" if entry.sha256 else "not readable",
)

# What is compared, by type. A symbolic link's mode is not: Linux has none. Sockets, pipes and devices only exist.
CHECKS: Final[Mapping[Kind, tuple[_Check, ...]]] = MappingProxyType(
    {
        "file": (_SIZE, _MODE, _OWNER, _MTIME, _CONTENT),
        "dir": (_MODE, _OWNER, _MTIME),
        "symlink": (_LINK, _OWNER, _MTIME),
        "other": (),
    }
)
WITHOUT_OWNERS: Final = MappingProxyType(
    {kind: tuple(check for check in checks if check is not _OWNER) for kind, checks in CHECKS.items()}
)
