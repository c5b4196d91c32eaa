"""A vault in this process's memory: what the others are held to, without disk or network. restic cannot reach it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime

from jobs.failure import FailureKind
from targets.errors import TargetError
from targets.ports import FileKind, FileRef, RepositoryAddress, StoredFile, unnoticed
from targets.vaults.layout import PIECE, path_of, plain_name


@dataclass(frozen=True, slots=True)
class MemoryVault:
    """Repositories that last as long as this object. `limit_upload` and `limit_download` are bytes a second."""

    name: str
    limit_upload: int | None = None
    limit_download: int | None = None
    _repositories: dict[str, dict[FileRef, bytes]] = field(default_factory=dict, repr=False, compare=False)

    def address(self, tenant: str) -> RepositoryAddress:
        """Raises TargetError always: no other process sees this memory."""
        message = f"{tenant}'s repository is in Tandem's own memory, where restic cannot reach it"
        raise TargetError("open", f"vault {self.name}", FailureKind.VAULT_UNREACHABLE, message)

    def store(self, tenant: str) -> MemoryStore:
        """The tenant's files; every store of one tenant shows the same ones."""
        return MemoryStore(self.name, tenant, self._repositories.setdefault(plain_name(tenant), {}))


class MemoryStore:
    """A dict of whole files. Reading goes on with the file as it was when reading began."""

    def __init__(self, vault: str, tenant: str, content: dict[FileRef, bytes]) -> None:
        self._vault = vault
        self._tenant = tenant
        self._content = content

    def files(
        self,
        kind: FileKind,
        stray: Callable[[str], None] = unnoticed,  # noqa: ARG002 (the port's signature; a dict holds no strangers)
    ) -> Iterator[StoredFile]:
        """See targets.ports.Store."""
        for ref, content in tuple(self._content.items()):
            if ref.kind is kind:
                yield StoredFile(ref, len(content))

    def size(self, ref: FileRef) -> int | None:
        """See targets.ports.Store."""
        content = self._content.get(ref)
        return None if content is None else len(content)

    def read(self, ref: FileRef) -> Iterator[bytes]:
        """See targets.ports.Store."""
        path = path_of(ref)
        content = self._content.get(ref)
        if content is None:
            message = f"{self._tenant}/{path} is not there"
            raise TargetError("read", f"vault {self._vault}", FailureKind.REPOSITORY_MISSING, message)
        for start in range(0, len(content), PIECE):
            yield content[start : start + PIECE]

    def write(self, ref: FileRef, pieces: Iterable[bytes]) -> None:
        """See targets.ports.Store."""
        path_of(ref)  # refuses what the real vaults could not name
        self._content[ref] = b"".join(pieces)

    def delete(self, ref: FileRef) -> None:
        """See targets.ports.Store."""
        self._content.pop(ref, None)

    def free(self) -> int | None:
        """See targets.ports.Store."""
        return None

    def is_bare(self) -> bool | None:
        """See targets.ports.Store."""
        return None

    def clock(self, fresh: FileRef) -> datetime | None:  # noqa: ARG002 (the port's signature)
        """See targets.ports.Store."""
        return None

    def close(self) -> None:
        """See targets.ports.Store."""
