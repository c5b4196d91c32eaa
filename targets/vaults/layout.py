"""Where a repository's files lie below its root, and which names are its files at all: the same in every vault.

    config · keys/<name> · snapshots/<name> · index/<name> · locks/<name> · data/<first two digits>/<name>

https://restic.readthedocs.io/en/stable/100_references.html#repository-layout ("default" layout). Whatever bears another
name is transient (restic's and our own `…-tmp-…` files) or foreign, and no store shows it.
"""

from __future__ import annotations

import re
from types import MappingProxyType
from typing import Final

from targets.ports import FileKind, FileRef

# No piece that a store reads is longer (bytes), so that memory does not grow with a file's size.
PIECE: Final = 1 << 20

CONFIG: Final = FileRef(FileKind.CONFIG, "config")

_HASH: Final = re.compile(r"[0-9a-f]{64}")
_KINDS: Final = MappingProxyType({kind.value: kind for kind in FileKind})
_PLAIN: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")


def is_name(kind: FileKind, name: str) -> bool:
    """Whether a file of this kind can bear this name."""
    return name == CONFIG.name if kind is FileKind.CONFIG else _HASH.fullmatch(name) is not None


def path_of(ref: FileRef) -> str:
    """The file's path below the repository's root, with slashes. Raises ValueError for a name no file can bear."""
    if not is_name(ref.kind, ref.name):
        raise ValueError(f"{ref.name!r} is not the name of a file of kind {ref.kind.value}")
    return f"{folder_of(ref.kind, ref.name)}/{ref.name}".removeprefix("/")


def folder_of(kind: FileKind, name: str) -> str:
    """The folder below the repository's root in which a file of this kind and name lies; "" for `config`."""
    if kind is FileKind.CONFIG:
        return ""
    return f"{kind.value}/{name[:2]}" if kind is FileKind.DATA else kind.value


def ref_at(path: str) -> FileRef | None:
    """The file that lies at this path below the repository's root, or None when it is not one of restic's."""
    folder, _, name = path.rpartition("/")
    kind = _KINDS.get(folder.partition("/")[0] or name)
    if kind is None or not is_name(kind, name):
        return None
    return FileRef(kind, name) if folder == folder_of(kind, name) else None


def plain_name(name: str) -> str:
    """A tenant's or a vault's name, when it is safe as a folder's name and as a host alias. Raises ValueError."""
    if not _PLAIN.fullmatch(name):
        raise ValueError(f"{name!r} cannot be used as a name: use letters, digits, dots, dashes and underscores")
    return name
