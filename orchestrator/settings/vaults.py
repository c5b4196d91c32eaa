"""The tables of vaults, one for each kind, and what is known of the kinds: where each lies, what two cannot do."""

from __future__ import annotations

import os.path
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Annotated, Final, Literal

from pydantic import Field
from pydantic import model_validator as after_all

from orchestrator.settings.fields import (
    Bucket,
    Endpoint,
    Host,
    LocalPath,
    Prefix,
    Rate,
    ServerPath,
    Text,
    User,
    WebAddress,
)
from orchestrator.settings.moments import Hours
from orchestrator.settings.references import KeyFile, Reference, Table


class LimitTable(Table):
    """How much of the link a vault may use, and when."""

    upload: Rate | None = Field(default=None, description="Most bytes a second towards the vault")
    download: Rate | None = Field(default=None, description="Most bytes a second from the vault")
    between: Hours | None = Field(
        default=None, description="Times of day between which the limit holds; absent: always"
    )

    @after_all(mode="after")
    def _limits_something(self) -> LimitTable:
        if self.between is not None and self.upload is None and self.download is None:
            raise ValueError("between alone limits nothing; add upload or download")
        return self


class AnyVaultTable(Table):
    """What every vault has."""

    site: Text = Field(description="The site the vault stands at")
    limit: LimitTable = Field(default=LimitTable(), description="How much of the link the vault may use")


class LocalTable(AnyVaultTable):
    """A folder of this machine."""

    kind: Literal["local"]
    path: LocalPath = Field(description="The folder that holds the repositories")


class SftpTable(AnyVaultTable):
    """A folder of another machine, over SSH."""

    kind: Literal["sftp"]
    host: Host = Field(description="The server's name or address")
    port: Annotated[int, Field(strict=True, ge=1, le=65_535)] = Field(default=22, description="The server's SSH port")
    user: User = Field(description="The user to log in as")
    path: ServerPath = Field(
        description="The folder on the server; relative to the user's home unless it begins with a slash"
    )
    identity: KeyFile = Field(description="The private key to log in with")
    known_hosts: LocalPath = Field(description="The file with the server's host key; it is always verified")


class S3Table(AnyVaultTable):
    """A bucket, or a part of one, of an S3 server."""

    kind: Literal["s3"]
    endpoint: Endpoint = Field(description="The server: https://HOST[:PORT]")
    bucket: Bucket = Field(description="The bucket; it must exist")
    prefix: Prefix = Field(default="", description="Path inside the bucket")
    region: Text = Field(default="us-east-1", description="The region to sign requests for")
    credentials: Reference = Field(description="The text ACCESS_KEY:SECRET_KEY, by reference")


class RestTable(AnyVaultTable):
    """A restic REST server."""

    kind: Literal["rest"]
    url: WebAddress = Field(description="The server: https://HOST[:PORT][/PATH]")
    credentials: Reference | None = Field(default=None, description="The text USER:PASSWORD, by reference")
    ca: LocalPath | None = Field(default=None, description="Certificates to trust instead of the system's (PEM)")

    @after_all(mode="after")
    def _certificates_only_with_tls(self) -> RestTable:
        if self.ca is not None and not self.url.startswith("https:"):
            raise ValueError("ca has no meaning unless url begins with https:")
        return self


VaultTable = Annotated[LocalTable | SftpTable | S3Table | RestTable, Field(discriminator="kind")]

# The key that tells where a vault of each kind is.
PLACE: Final = {"local": "path", "sftp": "path", "s3": "bucket", "rest": "url"}

# What one process of restic has once, from its environment, however many repositories of the kind it opens.
_ONE_FOR_BOTH: Final[Mapping[str, tuple[str, ...]]] = {"s3": ("credentials", "region"), "rest": ("ca",)}


def too_close(vaults: Mapping[str, VaultTable], first: str, second: str) -> str:
    """Why the two vaults cannot hold the two copies; empty when they can, or when one of them is not known."""
    here, there = vaults.get(first), vaults.get(second)
    if here is None or there is None:
        return ""
    if first == second:
        return f'its second copy would be in the vault of the first, "{first}"'
    if here.site == there.site:
        return f'the vaults of both copies, "{first}" and "{second}", are at site "{here.site}"; they must be at two'
    for key in _ONE_FOR_BOTH.get(here.kind, ()) if here.kind == there.kind else ():
        if getattr(here, key) != getattr(there, key):
            return (
                f'restic takes the same {key} for both, so it cannot copy between "{first}" and "{second}"; '
                f"give both vaults the same {key}, or make one of them another kind"
            )
    return ""


def location(vault: VaultTable) -> tuple[tuple[object, ...], tuple[str, ...]]:
    """A vault's server, and the path there; two vaults overlap when one path begins with the other."""
    match vault:
        case LocalTable():
            return ("local",), PurePosixPath(os.path.realpath(vault.path)).parts
        case SftpTable():
            home = () if vault.path.startswith("/") else (vault.user,)
            return ("sftp", vault.host.lower(), vault.port, *home), PurePosixPath(os.path.normpath(vault.path)).parts
        case S3Table():
            return ("s3", vault.endpoint.lower(), vault.bucket), PurePosixPath(vault.prefix).parts
        case RestTable():
            scheme, _, rest = vault.url.partition("://")
            host, _, path = rest.partition("/")
            return ("rest", scheme, host.lower()), PurePosixPath(path).parts
