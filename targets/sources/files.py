"""Single small files as a source: copied as they are, with their mode, owner and times; links are followed."""

from __future__ import annotations

import os
import shutil
from errno import EDQUOT, ENOSPC
from pathlib import Path
from typing import Final

from jobs.failure import FailureKind
from jobs.manifest import shown
from targets.errors import TargetError

_FULL: Final = frozenset((ENOSPC, EDQUOT))


def copy(file: Path, into: Path) -> None:
    """Copy a regular file to the path `into`, whose folders are made (mode 0700).

    Raises TargetError: SOURCE_MISSING, SOURCE_UNREADABLE, DISK_FULL.
    """
    try:
        into.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not file.is_file():
            kind = FailureKind.SOURCE_UNREADABLE if file.exists() else FailureKind.SOURCE_MISSING
            raise _error(file, kind, "not a file" if file.exists() else "not there")
        shutil.copyfile(file, into)
        shutil.copystat(file, into)
        look_like(file, into)
    except FileNotFoundError as error:
        raise _error(file, FailureKind.SOURCE_MISSING, "not there any more") from error
    except OSError as error:
        kind = FailureKind.DISK_FULL if error.errno in _FULL else FailureKind.SOURCE_UNREADABLE
        raise _error(file, kind, str(error.strerror or error)) from error


def look_like(original: Path, made: Path) -> None:
    """Give a copy the original's mode, and its owner where we may: restored, it must be its service's again.

    Raises OSError.
    """
    known = original.stat()
    if os.geteuid() == 0:
        os.chown(made, known.st_uid, known.st_gid)
    made.chmod(known.st_mode & 0o7777)


def _error(file: Path, kind: FailureKind, what: str) -> TargetError:
    return TargetError("copy", f"file {shown(str(file))}", kind, what)
