"""The manifest: what a source held, line by line. Written here and read here, and nowhere else is its form known.

One JSON object a line, in ASCII (so that file names that are not UTF-8 survive as lone surrogates), in the order of
`order`, without a header (so that two runs of one source share their bytes in the repository); the last line is the
footer, which counts and hashes all lines before it. A line that has not changed is passed on as bytes, undecoded.

    {"type":"file","path":"/srv/a","size":3,"mode":420,"uid":0,"gid":0,"mtime_ns":1,"ctime_ns":1,"inode":7,"device":2,
     "sha256":"…"}                       (on one line; symlinks bear "link" instead; then "changed", "unreadable")
    {"tandem-manifest":1,"policy":"career-files","run":"…","taken_at":"2026-11-21T01:30:00+00:00","entries":1,…}
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from hashlib import sha256
from json.encoder import encode_basestring_ascii as _quote
from typing import Final, Literal, NamedTuple

VERSION: Final = 1
UNKNOWN: Final = -1  # a number that the source does not have: a command's output has no mode, owner or mtime

Kind = Literal["file", "dir", "symlink", "other"]

_FOOTER_START: Final = b'{"tandem-manifest":'
_FILE_START: Final = b'{"type":"file",'
_PATH: Final = b'"path":"'
_SIZE: Final = b'","size":'
_SHA256: Final = b',"sha256":"'
_MARKED: Final = b"true}\n"  # only the two marks end a line so
_HEAD: Final = (
    '{"type":"%s","path":%s,"size":%d,"mode":%d,"uid":%d,"gid":%d,"mtime_ns":%d,"ctime_ns":%d,"inode":%d,"device":%d'
)
NAMES_KEPT: Final = 100  # of changed and of unreadable paths; the manifest itself holds them all
CHANGED: Final = b',"changed":true'
UNREADABLE: Final = b',"unreadable":true'
GONE: Final = CHANGED + UNREADABLE
_PIECE_LINES: Final = 256  # lines joined before they are hashed and handed on


class ManifestError(Exception):
    """A manifest is truncated, damaged, out of order, or of a version that this program does not know."""


class Identity(NamedTuple):
    """The numbers of `lstat` that a line holds. `size` counts for files and is 0 for all else; times in nanoseconds."""

    size: int
    mode: int  # the twelve permission bits
    uid: int
    gid: int
    mtime_ns: int
    ctime_ns: int
    inode: int
    device: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """One thing that the source held. `path` is absolute; bytes that are not UTF-8 are surrogate-escaped.

    `changed`: it was changing while it was backed up, so its bytes, size, mode, owner and mtime prove nothing.
    `unreadable`: it could not be read, so the snapshot may lack it. Both: it was gone or replaced before the end.
    """

    path: str
    type: Kind
    size: int = 0
    mode: int = UNKNOWN
    uid: int = UNKNOWN
    gid: int = UNKNOWN
    mtime_ns: int = UNKNOWN
    ctime_ns: int = UNKNOWN
    inode: int = UNKNOWN
    device: int = UNKNOWN
    sha256: str | None = None
    link: str | None = None
    changed: bool = False
    unreadable: bool = False

    def __post_init__(self) -> None:
        if not self.path.startswith("/"):
            raise ValueError(f"a manifest's path must be absolute: {shown(self.path)}")
        if self.type == "file" and self.sha256 is None and not (self.changed or self.unreadable):
            raise ValueError(f"a file needs its SHA-256, or a mark that says why not: {shown(self.path)}")

    @property
    def identity(self) -> Identity:
        """Its numbers."""
        return Identity(self.size, self.mode, self.uid, self.gid, self.mtime_ns, self.ctime_ns, self.inode, self.device)


@dataclass(frozen=True, kw_only=True, slots=True)
class Footer:
    """The last line: whose manifest it is, when it was begun, and what the lines before it add up to.

    `changed` counts the files that changed while they were backed up (also those that went away); `unreadable`
    everything that could not be read. `bytes` is the sum of the files' sizes.
    """

    policy: str
    run: str
    taken_at: datetime
    entries: int = 0
    files: int = 0
    bytes: int = 0
    changed: int = 0
    unreadable: int = 0
    sha256: str = ""


def order(path: str) -> str:
    """The sort key: depth first, by path components. NUL is in no name and sorts before every character."""
    return path.replace("/", "\0")


def shown(path: str) -> str:
    """The path for people: one line, printable; bytes that are not UTF-8 as `\\xNN`."""
    return path if path.isprintable() else "".join(map(_shown, path))


def _shown(character: str) -> str:
    if character.isprintable():
        return character
    code = ord(character)
    return f"\\x{code - 0xDC00:02x}" if 0xDC80 <= code <= 0xDCFF else character.encode("unicode_escape").decode()


def head(kind: Kind, path: str, identity: Identity) -> bytes:
    """The first part of a line: all that `lstat` tells."""
    return (_HEAD % (kind, _quote(path), *identity)).encode("ascii")


def line(head: bytes, *, sha256: str | None = None, link: str | None = None, marks: bytes = b"") -> bytes:
    """A whole line. `marks` is b"", CHANGED, UNREADABLE or GONE."""
    content = b',"sha256":"%b"' % sha256.encode() if sha256 else b""
    return b"%b%b%b%b}\n" % (head, content, b',"link":' + _quote(link).encode() if link is not None else b"", marks)


def encode(entry: Entry) -> bytes:
    """The entry as its line."""
    marks = (CHANGED if entry.changed else b"") + (UNREADABLE if entry.unreadable else b"")
    return line(head(entry.type, entry.path, entry.identity), sha256=entry.sha256, link=entry.link, marks=marks)


def decode(line: bytes) -> Entry:
    """The entry of a line. Raises ManifestError."""
    try:
        return Entry(**json.loads(line))
    except (ValueError, TypeError) as error:
        raise ManifestError(f"the manifest is damaged: this is no entry: {line[:80]!r}") from error


def path_of(line: bytes) -> str:
    """The path of a line, without decoding the rest. Raises ManifestError."""
    try:
        start = line.index(_PATH) + len(_PATH)
        quoted = line[start : line.index(_SIZE, start)]
        return str(json.loads(b'"%b"' % quoted)) if b"\\" in quoted else quoted.decode("ascii")
    except ValueError as error:
        raise ManifestError(f"the manifest is damaged: this is no entry: {line[:80]!r}") from error


def is_file(line: bytes) -> bool:
    """Whether the line tells of a regular file."""
    return line.startswith(_FILE_START)


def is_of(line: bytes, kind: Kind) -> bool:
    """Whether the line tells of something of that type."""
    return line.startswith(b'{"type":"%b"' % kind.encode("ascii"))


def is_unreadable(line: bytes) -> bool:
    """Whether the line bears the mark that its source could not be read, and no other."""
    return line.endswith(UNREADABLE + b"}\n") and not line.endswith(GONE + b"}\n")


def told_by(line: bytes, head: bytes) -> bool:
    """Whether the line begins with all of `head`: same type, path and numbers."""
    return line.startswith(head) and line.startswith((b",", b"}"), len(head))


def proves(line: bytes, head: bytes) -> bool:
    """Whether the line holds the SHA-256 of the very file that `head` tells of, and bears no mark."""
    return line.startswith(head) and line.startswith(_SHA256, len(head)) and not line.endswith(_MARKED)


def marked(line: bytes, *, gone: bool) -> bytes:
    """The line with the mark that it changed, or that it was gone or replaced before the end."""
    entry = decode(line)
    return encode(replace(entry, changed=True, unreadable=entry.unreadable or gone))


class _Count:
    """What lines add up to, their hash, and the first names that bear a mark."""

    def __init__(self) -> None:
        self.entries = self.files = self.bytes = self.changed = self.unreadable = 0
        self.changed_names: list[str] = []
        self.unreadable_names: list[str] = []
        self.hash = sha256()

    def add(self, line: bytes) -> None:
        self.entries += 1
        if line.startswith(_FILE_START):
            self.files += 1
            start = line.index(_SIZE) + len(_SIZE)
            self.bytes += int(line[start : line.index(b",", start)])
        if line.endswith(_MARKED):
            self._add_mark(decode(line))

    def _add_mark(self, entry: Entry) -> None:
        if entry.changed and entry.type == "file":
            self.changed += 1
            self.changed_names += [entry.path] if self.changed <= NAMES_KEPT else []
        if entry.unreadable and not entry.changed:
            self.unreadable += 1
            self.unreadable_names += [entry.path] if self.unreadable <= NAMES_KEPT else []

    def footer(self, policy: str, run: str, taken_at: datetime) -> Footer:
        return Footer(
            policy=policy,
            run=run,
            taken_at=taken_at,
            entries=self.entries,
            files=self.files,
            bytes=self.bytes,
            changed=self.changed,
            unreadable=self.unreadable,
            sha256=self.hash.hexdigest(),
        )


class Writer:
    """A manifest as pieces of bytes: the lines as they come, then the footer.

    To be iterated once, to the end; then ask `footer`, `changed` and `unreadable`.
    """

    def __init__(self, lines: Iterable[bytes], *, policy: str, run: str, taken_at: datetime) -> None:
        self._lines, self._policy, self._run, self._taken_at = lines, policy, run, taken_at
        self._count = _Count()
        self._footer: Footer | None = None

    def __iter__(self) -> Iterator[bytes]:
        count, batch = self._count, list[bytes]()
        for each in self._lines:
            count.add(each)
            batch.append(each)
            if len(batch) >= _PIECE_LINES:
                yield _hashed(batch, count)
        if batch:
            yield _hashed(batch, count)
        self._footer = count.footer(self._policy, self._run, self._taken_at)
        yield _encode_footer(self._footer)

    @property
    def footer(self) -> Footer:
        """What was written. Raises ManifestError before the end."""
        return _known(self._footer)

    @property
    def changed(self) -> tuple[str, ...]:
        """The first hundred files that changed while they were backed up."""
        return tuple(self._count.changed_names)

    @property
    def unreadable(self) -> tuple[str, ...]:
        """The first hundred paths that could not be read."""
        return tuple(self._count.unreadable_names)


def _hashed(batch: list[bytes], count: _Count) -> bytes:
    piece = b"".join(batch)
    batch.clear()
    count.hash.update(piece)
    return piece


class Reader:
    """The lines of a manifest that comes in pieces of any size. To be iterated once, to the end; then ask `footer`.

    Iterating raises ManifestError where the manifest is truncated or damaged: what came before proves nothing then.
    """

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = pieces
        self._footer: Footer | None = None

    def __iter__(self) -> Iterator[bytes]:
        count = _Count()
        for each in split(self._pieces):
            if self._footer is not None:
                raise ManifestError("the manifest is damaged: there is more after its footer")
            if each.startswith(_FOOTER_START):
                self._footer = _decode_footer(each)
                continue
            _count_and_hash(each, count)
            yield each
        found = _known(self._footer)
        if found != count.footer(found.policy, found.run, found.taken_at):
            self._footer = None
            raise ManifestError("the manifest is damaged: its lines are not those that its footer counts and hashes")

    @property
    def footer(self) -> Footer:
        """The footer, verified. Raises ManifestError before the end."""
        return _known(self._footer)


def _count_and_hash(line: bytes, count: _Count) -> None:
    try:
        count.add(line)
    except ValueError as error:
        raise ManifestError(f"the manifest is damaged: this is no entry: {line[:80]!r}") from error
    count.hash.update(line)


def _known(footer: Footer | None) -> Footer:
    if footer is None:
        raise ManifestError("the manifest is truncated: it has no footer")
    return footer


def split(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Whole lines, each with its end, of bytes that come in pieces of any size. What has no end comes last."""
    rest = b""
    for piece in pieces:
        lines = (rest + piece).splitlines(keepends=True)
        rest = lines.pop() if lines and not lines[-1].endswith(b"\n") else b""
        yield from lines
    if rest:
        yield rest


def _encode_footer(footer: Footer) -> bytes:
    numbers = {name: getattr(footer, name) for name in ("entries", "files", "bytes", "changed", "unreadable")}
    told = {"policy": footer.policy, "run": footer.run, "taken_at": footer.taken_at.isoformat()}
    whole = {"tandem-manifest": VERSION, **told, **numbers, "sha256": footer.sha256}
    return json.dumps(whole, separators=(",", ":")).encode("ascii") + b"\n"


def _decode_footer(line: bytes) -> Footer:
    try:
        values = json.loads(line)
        version = values.pop("tandem-manifest")
        if version == VERSION and line.endswith(b"\n"):
            return Footer(**{**values, "taken_at": datetime.fromisoformat(values["taken_at"])})
    except (ValueError, TypeError, KeyError) as error:
        raise ManifestError(f"the manifest is truncated or damaged: this is no footer: {line[:80]!r}") from error
    if version != VERSION:
        raise ManifestError(f"the manifest has version {version}, this program knows {VERSION}: use a newer Tandem")
    raise ManifestError("the manifest is truncated: its last line has no end")
