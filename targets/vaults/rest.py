"""A vault behind a restic REST server, protocol version 2. A file is sent with its length, so that none arrives cut.

https://restic.readthedocs.io/en/stable/100_references.html#rest-backend
"""

from __future__ import annotations

import base64
import json
import os
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from types import MappingProxyType
from typing import IO, TYPE_CHECKING, Final
from urllib.parse import quote, urlsplit

from jobs.failure import FailureKind
from targets.errors import TargetError
from targets.ports import FileKind, FileRef, RepositoryAddress, StoredFile, unnoticed
from targets.secret import Secret
from targets.vaults.layout import CONFIG, PIECE, is_name, path_of, plain_name

if TYPE_CHECKING:
    from urllib3 import BaseHTTPResponse, PoolManager

_CONNECT_SECONDS: Final = 10
_ANSWER_SECONDS: Final = 60
_CONNECTIONS: Final = 8  # kept for reuse; more threads may open more
_BLOCK: Final = 256 * 1024  # bytes sent at once; urllib3's own 16 KiB costs a third of the speed
_IN_MEMORY: Final = 8 * PIECE  # a file that is longer waits in a temporary file while it is sent
_RETRIES: Final = 2
_WORDS: Final = 300  # bytes of a refusal that are shown
_OK: Final = 200
_NOT_FOUND: Final = 404
_SERVER_FAILED: Final = 500
_HINT: Final = " (the server's own log says why; is its disk full?)"
_V2: Final = "application/vnd.x.restic.rest.v2"

_KIND_OF_STATUS: Final[Mapping[int, FailureKind]] = MappingProxyType(
    {
        401: FailureKind.ACCESS_DENIED,
        403: FailureKind.ACCESS_DENIED,
        404: FailureKind.REPOSITORY_MISSING,
        413: FailureKind.DISK_FULL,  # restic's rest-server, when --max-size is reached
        507: FailureKind.DISK_FULL,
    }
)


@dataclass(frozen=True, slots=True)
class RestVault:
    """Repositories below `url`, which starts with http:// or https:// and holds neither user nor password.

    `ca`: a PEM file with the certificate authority that signed the server's certificate, when the system does not know
    it. The limits are bytes a second.
    """

    name: str
    url: str
    user: str | None = None
    password: Secret | None = None
    ca: Path | None = None
    limit_upload: int | None = None
    limit_download: int | None = None

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ValueError("the address of a REST server starts with http:// or https:// and a host")
        if "@" in parts.netloc:
            raise ValueError(
                "the address of a REST server holds no user and no password: they are settings of their own"
            )

    def address(self, tenant: str) -> RepositoryAddress:
        """How restic reaches the tenant's repository.

        SSL_CERT_FILE and not restic's --cacert: it is Go's own (crypto/x509), so every version of restic knows it.
        """
        environment = {} if self.ca is None else {"SSL_CERT_FILE": Secret(str(self.ca.absolute()))}
        return RepositoryAddress(
            label=f"{tenant}@{self.name}",
            url=Secret("rest:" + self.repository_url(tenant).replace("://", f"://{self._credentials()}", 1)),
            environment=MappingProxyType(environment),
            limit_upload=self.limit_upload,
            limit_download=self.limit_download,
        )

    def store(self, tenant: str) -> RestStore:
        """The files of the tenant's repository; connects on first use."""
        return RestStore(self, tenant)

    def repository_url(self, tenant: str) -> str:
        """The tenant's repository, without credentials, ending in a slash."""
        return f"{self.url.rstrip('/')}/{plain_name(tenant)}/"

    def _credentials(self) -> str:
        if self.user is None:
            return ""
        password = "" if self.password is None else self.password.reveal()
        return f"{quote(self.user, safe='')}:{quote(password, safe='')}@"


class RestStore:
    """The files of one repository behind a REST server. Threads may share it."""

    def __init__(self, vault: RestVault, tenant: str) -> None:
        self._vault = vault
        self._url = vault.repository_url(tenant)
        self._lock = threading.Lock()
        self._pool: PoolManager | None = None
        self._created = False

    def files(self, kind: FileKind, stray: Callable[[str], None] = unnoticed) -> Iterator[StoredFile]:
        """See targets.ports.Store."""
        if kind is FileKind.CONFIG:
            size = self.size(CONFIG)
            return iter(() if size is None else (StoredFile(CONFIG, size),))
        return self._listed(kind, stray)

    def size(self, ref: FileRef) -> int | None:
        """See targets.ports.Store."""
        with self._answer("look at", "HEAD", _place_of(ref), missing_is_fine=True) as answer:
            return None if answer.status == _NOT_FOUND else int(answer.headers["Content-Length"])

    def read(self, ref: FileRef) -> Iterator[bytes]:
        """See targets.ports.Store."""
        with self._answer("read", "GET", _place_of(ref)) as answer:
            yield from answer.stream(PIECE, decode_content=False)

    def write(self, ref: FileRef, pieces: Iterable[bytes]) -> None:
        """See targets.ports.Store.

        The protocol cannot replace a file, and restic's server refuses to. So one that is there is deleted once the new
        one is complete on our side; if the line is cut just then, neither is there.
        """
        place = _place_of(ref)
        with tempfile.SpooledTemporaryFile(_IN_MEMORY, prefix="tandem-") as whole:
            for piece in pieces:
                whole.write(piece)
            self._create()
            try:
                self._send(place, whole)
            except TargetError as error:
                if error.kind is not FailureKind.ACCESS_DENIED or self.size(ref) is None:
                    self._take_back(ref, whole)
                    raise
                self.delete(ref)
                self._send(place, whole)

    def delete(self, ref: FileRef) -> None:
        """See targets.ports.Store."""
        with self._answer("delete", "DELETE", _place_of(ref), missing_is_fine=True):
            pass

    def free(self) -> int | None:
        """See targets.ports.Store. The protocol knows no such thing."""
        return None

    def is_bare(self) -> bool | None:
        """See targets.ports.Store. A server shows one repository at a time."""
        return None

    def clock(self, fresh: FileRef) -> datetime | None:
        """See targets.ports.Store: the Date of an answer (RFC 9110, 6.6.1)."""
        with self._answer("look at", "HEAD", _place_of(fresh)) as answer:
            told = answer.headers.get("Date", "")
        try:
            return parsedate_to_datetime(told)
        except ValueError:
            return None

    def close(self) -> None:
        """See targets.ports.Store."""
        with self._lock:
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.clear()

    def _listed(self, kind: FileKind, stray: Callable[[str], None]) -> Iterator[StoredFile]:
        with self._answer("list", "GET", f"{kind.value}/", missing_is_fine=True) as answer:
            text = b"[]" if answer.status == _NOT_FOUND else answer.read()
        try:
            entries = [(str(entry["name"]), int(entry["size"])) for entry in json.loads(text) or ()]
        except (ValueError, KeyError, TypeError) as error:
            message = (
                f"{self._url}{kind.value}/ answers with no list of files; is it a REST server of protocol version 2?"
            )
            raise self._error("list", FailureKind.VAULT_UNREACHABLE, message) from error
        for name, size in entries:
            if is_name(kind, name):
                yield StoredFile(FileRef(kind, name), size)
            else:
                stray(name)

    def _create(self) -> None:
        """Have the server make the repository's folders, once; one that is there stays as it is."""
        if not self._created:
            with self._answer("create", "POST", "?create=true"):
                self._created = True

    def _send(self, place: str, whole: IO[bytes]) -> None:
        with self._answer("write", "POST", place, body=whole):
            pass

    def _take_back(self, ref: FileRef, whole: IO[bytes]) -> None:
        """Delete what a server that failed left of a file (rclone's does when its disk is full).

        Not of `config`, which may be the former one; any other file's name stands for one content, so for one length.
        """
        with suppress(TargetError):
            if ref.kind is not FileKind.CONFIG and self.size(ref) not in {None, _length_of(whole)}:
                self.delete(ref)

    @contextmanager
    def _answer(
        self, operation: str, method: str, place: str, *, body: IO[bytes] | None = None, missing_is_fine: bool = False
    ) -> Iterator[BaseHTTPResponse]:
        """The server's answer when it is a good one. Its connection is reused when it was read to the end."""
        from urllib3.exceptions import HTTPError

        url = self._url + place
        try:
            pool = self._connections()
            headers = pool.headers if body is None else {**pool.headers, "Content-Length": str(_length_of(body))}
            answer = pool.request(method, url, body=body, headers=headers, preload_content=False, redirect=False)
            with closing(answer):
                if answer.status != _OK and not (missing_is_fine and answer.status == _NOT_FOUND):
                    raise self._refusal(operation, url, answer)
                yield answer
                answer.drain_conn()
        except HTTPError as error:
            reason = getattr(error, "reason", None) or error
            raise self._error(operation, FailureKind.VAULT_UNREACHABLE, f"{url}: {reason}") from error

    def _connections(self) -> PoolManager:
        with self._lock:
            if self._pool is None:
                self._pool = _connect(self._vault)
            return self._pool

    def _refusal(self, operation: str, url: str, answer: BaseHTTPResponse) -> TargetError:
        words = answer.read(_WORDS).decode(errors="replace").strip()
        kind = _KIND_OF_STATUS.get(answer.status, FailureKind.VAULT_UNREACHABLE)
        if "no space left" in words.lower():
            kind = FailureKind.DISK_FULL
        hint = _HINT if answer.status >= _SERVER_FAILED and kind is FailureKind.VAULT_UNREACHABLE else ""
        return self._error(operation, kind, f"{url}: HTTP status {answer.status} {words}".rstrip() + hint)

    def _error(self, operation: str, kind: FailureKind, message: str) -> TargetError:
        return TargetError(operation, f"vault {self._vault.name}", kind, message)


def _connect(vault: RestVault) -> PoolManager:
    from urllib3 import PoolManager, Retry, Timeout

    headers = {"Accept": _V2}
    if vault.user is not None:
        password = "" if vault.password is None else vault.password.reveal()
        token = base64.b64encode(f"{vault.user}:{password}".encode()).decode()
        headers["Authorization"] = f"Basic {token}"
    # Every request may be sent again: files are whole, named by what they hold, and deleted only once.
    retries = Retry(total=_RETRIES, redirect=0, status=0, allowed_methods=None, backoff_factor=0.2)
    return PoolManager(
        maxsize=_CONNECTIONS,
        headers=headers,
        timeout=Timeout(connect=_CONNECT_SECONDS, read=_ANSWER_SECONDS),
        retries=retries,
        blocksize=_BLOCK,
        ca_certs=None if vault.ca is None else str(vault.ca),
    )


def _length_of(body: IO[bytes]) -> int:
    """Its length in bytes, and rewinds it."""
    length = body.seek(0, os.SEEK_END)
    body.seek(0)
    return length


def _place_of(ref: FileRef) -> str:
    """Where the protocol has a file: data files lie in no folders of two digits here."""
    path_of(ref)
    return ref.name if ref.kind is FileKind.CONFIG else f"{ref.kind.value}/{ref.name}"
