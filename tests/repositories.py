"""Repositories whose password is quickly tried: restic's own format, with a key that is derived in few rounds.

`restic init` chooses as many rounds as take half a second, and each later command of restic pays for them again. That
is nothing that a test of Tandem shows, and was four fifths of all that they cost; restic's own tests do the same. The
format is described in restic's doc/design.rst: a file is nonce, AES-256-CTR, Poly1305-AES; a key file holds the
repository's key, sealed with one that scrypt derives from the password.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from base64 import b64decode, b64encode
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR, ECB
from cryptography.hazmat.primitives.poly1305 import Poly1305

POLYNOMIAL: Final = "3fa4f8dd95c865"  # of restic's chunker; irreducible, and `restic init` chose it once
ROUNDS: Final = {"N": 1 << 10, "r": 8, "p": 1}
NONCE: Final = 16
TAG: Final = 16
CLAMP: Final = bytes.fromhex("ffffff0ffcffff0ffcffff0ffcffff0f")  # the bits that a Poly1305 key may have


@dataclass(frozen=True, slots=True)
class _Key:
    """What seals a file: for AES, and for the two halves of the tag."""

    encrypt: bytes
    k: bytes
    r: bytes

    @staticmethod
    def derived(password: str, entry: dict[str, Any]) -> _Key:
        """The one that a key file's salt and rounds make of a password."""
        rounds = {"n": entry["N"], "r": entry["r"], "p": entry["p"], "maxmem": 1 << 28}
        made = hashlib.scrypt(password.encode(), salt=b64decode(entry["salt"]), dklen=64, **rounds)
        return _Key(made[:32], made[32:48], made[48:])

    def seal(self, content: bytes) -> bytes:
        nonce = secrets.token_bytes(NONCE)
        hidden = Cipher(AES(self.encrypt), CTR(nonce)).encryptor().update(content)
        return nonce + hidden + self._tag(nonce, hidden)

    def unseal(self, sealed: bytes) -> bytes:
        nonce, hidden, tag = sealed[:NONCE], sealed[NONCE:-TAG], sealed[-TAG:]
        assert tag == self._tag(nonce, hidden), "another password, or a damaged file"
        return Cipher(AES(self.encrypt), CTR(nonce)).decryptor().update(hidden)

    def _tag(self, nonce: bytes, hidden: bytes) -> bytes:
        # ECB of one block: that is how Poly1305-AES makes its pad.
        pad = Cipher(AES(self.k), ECB()).encryptor().update(nonce)  # noqa: S305 (see above)
        return Poly1305.generate_tag(self.r + pad, hidden)


def prepare(repository: Path, password: str) -> Path:
    """An empty repository as `restic init` leaves it, with an id and a key of its own."""
    for name in ("data", "index", "keys", "locks", "snapshots", *(f"data/{number:02x}" for number in range(256))):
        (repository / name).mkdir(mode=0o700, parents=True)
    repository.chmod(0o700)
    clamped = bytes(one & mask for one, mask in zip(secrets.token_bytes(16), CLAMP, strict=True))
    key = _Key(secrets.token_bytes(32), secrets.token_bytes(16), clamped)
    config = {"version": 2, "id": secrets.token_hex(32), "chunker_polynomial": POLYNOMIAL}
    _write(repository / "config", key.seal(_json(config)))
    mac = {"k": _text(key.k), "r": _text(key.r)}
    _add_key(repository, password, _json({"mac": mac, "encrypt": _text(key.encrypt)}))
    return repository


def lighten(repository: Path, password: str) -> None:
    """Give a repository that restic has made a key of few rounds in place of its only one."""
    (old,) = (repository / "keys").iterdir()
    entry = json.loads(old.read_bytes())
    _add_key(repository, password, _Key.derived(password, entry).unseal(b64decode(entry["data"])))
    old.unlink()


def leave_lock(
    repository: Path, password: str, *, host: str, pid: int, time: datetime, exclusive: bool = False
) -> Path:
    """A lock as restic writes it: of that process on that host, last refreshed then."""
    entry = json.loads(next((repository / "keys").iterdir()).read_bytes())
    master = json.loads(_Key.derived(password, entry).unseal(b64decode(entry["data"])))
    key = _Key(*(b64decode(each) for each in (master["encrypt"], master["mac"]["k"], master["mac"]["r"])))
    told = {"hostname": host, "username": "backup", "pid": pid, "uid": 0, "gid": 0}
    content = key.seal(_json({"time": time.isoformat(), "exclusive": exclusive, **told}))
    lock = repository / "locks" / hashlib.sha256(content).hexdigest()
    _write(lock, content)
    return lock


def _add_key(repository: Path, password: str, content: bytes) -> None:
    about = {"created": "2026-01-01T00:00:00Z", "username": "tests", "hostname": "tests", "kdf": "scrypt"}
    entry: dict[str, Any] = {**about, **ROUNDS, "salt": _text(os.urandom(64))}
    entry["data"] = _text(_Key.derived(password, entry).seal(content))
    file = _json(entry)
    _write(repository / "keys" / hashlib.sha256(file).hexdigest(), file)


def _write(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    path.chmod(0o400)


def _text(raw: bytes) -> str:
    return b64encode(raw).decode()


def _json(content: dict[str, Any]) -> bytes:
    return json.dumps(content, separators=(",", ":")).encode()
