"""A vault of each kind that is reached over a network, on a server of its own that a test may stop and start."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from tests.acceptance.operator import Operator
from tests.servers.rest import RestServer
from tests.servers.s3 import S3Server
from tests.servers.sshd import Sshd

Server = Sshd | S3Server | RestServer
KINDS: Final = ("sftp", "s3", "rest")
BUCKET: Final = "tandem"
KEYS: Final = "TEST_VAULT_KEYS"  # the environment variable with the vault's credentials


@dataclass(frozen=True, kw_only=True)
class Remote:
    """A server, what settings.toml says of a vault on it, and the folder in which its repositories lie."""

    server: Server
    lines: str
    place: Path
    keys: str = ""  # what $TEST_VAULT_KEYS must hold
    name: str = field(default="remote")

    @property
    def repository(self) -> Path:
        """The folder of tenant minfopra's repository."""
        return self.place / "minfopra"

    def but(self, old: str, new: str) -> Remote:
        """The same with another word in its settings."""
        assert old in self.lines
        return replace(self, lines=self.lines.replace(old, new))

    def at(self, site: str) -> str:
        """The vault's section of settings.toml, for a test's `str.format`."""
        lines = self.lines.replace("{", "{{").replace("}", "}}")
        return f'\n[vaults.{self.name}]\nsite = "{site}"\n{lines}'

    def restart(self) -> None:
        """Start the server again, where it was."""
        self.server.start(self.server.port)


@contextmanager
def remote(kind: str, folder: Path) -> Iterator[Remote]:
    """A vault of this kind; its server runs as long as the block."""
    with _MADE[kind](folder) as made:
        yield made


@contextmanager
def _sftp(folder: Path) -> Iterator[Remote]:
    with Sshd(folder / "sshd") as server:
        lines = f"""
kind = "sftp"
host = "{server.host}"
port = {server.port}
user = "{server.user}"
path = "{folder / "vault"}"
identity = {{ file = "{server.identity}" }}
known_hosts = "{server.known_hosts}"
"""
        yield Remote(server=server, lines=lines, place=folder / "vault")


@contextmanager
def _s3(folder: Path) -> Iterator[Remote]:
    with S3Server(folder / "s3") as server:
        server.make_bucket(BUCKET)
        lines = f"""
kind = "s3"
endpoint = "{server.endpoint}"
bucket = "{BUCKET}"
prefix = "below"
credentials = {{ env = "{KEYS}" }}
"""
        place = server.root / BUCKET / "below"
        yield Remote(server=server, lines=lines, place=place, keys=f"{server.access_key}:{server.secret_key}")


@contextmanager
def _rest(folder: Path) -> Iterator[Remote]:
    with RestServer(folder / "rest") as server:
        lines = f"""
kind = "rest"
url = "{server.url}/below"
credentials = {{ env = "{KEYS}" }}
"""
        yield Remote(server=server, lines=lines, place=server.root / "below", keys=f"{server.user}:{server.password}")


_MADE: Final = {"sftp": _sftp, "s3": _s3, "rest": _rest}


def copy_to(operator: Operator, there: Remote) -> None:
    """Have the policy's second copy in this vault."""
    _use(operator, there, "secondary", 'replicate = {{ to = "secondary" }}')


def back_up_to(operator: Operator, there: Remote) -> None:
    """Have the policy's first copy in this vault."""
    _use(operator, there, "primary", 'vault = "primary"')


def _use(operator: Operator, there: Remote, site: str, words: str) -> None:
    assert words in operator.settings
    operator.write_settings(operator.settings.replace(words, words.replace(site, there.name)) + there.at(site))
    if there.keys:
        operator.environment[KEYS] = there.keys
