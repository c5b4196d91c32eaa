"""REST servers for restic: rclone's (always there), and restic's own where $RESTIC_REST_SERVER or the PATH has it."""

from __future__ import annotations

import base64
import hashlib
import os
from pathlib import Path
from typing import Literal

from tests.servers.certificate import Certificate
from tests.servers.lasting import Lasting
from tests.servers.program import LOOPBACK, Server, program
from tests.servers.rclone import rclone_environment

USER = "tandem@test"
PASSWORD = "p@ss/w:rd ?#é"

Flavour = Literal["rclone", "restic"]


# Read when pytest imports this, before a test session is cleared of what the person's shell holds.
_NAMED = os.environ.get("RESTIC_REST_SERVER")


def restic_rest_server() -> str | None:
    """The path of restic's own server, or None."""
    return _NAMED or program("restic-rest-server") or program("rest-server")


class RestServer(Lasting):
    """A running REST server that wants `user` and `password`. Repositories lie in `root/<name>/`."""

    user = USER
    password = PASSWORD

    def __init__(
        self,
        folder: Path,
        *,
        flavour: Flavour = "rclone",
        root: Path | None = None,
        certificate: Certificate | None = None,
        append_only: bool = False,
    ) -> None:
        """Start it; its files go into `folder`, the repositories into `root`. With a certificate it speaks https."""
        self.root = root or folder / "root"
        self.root.mkdir(parents=True, exist_ok=True)
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._certificate = certificate
        self._more = ["--append-only"] if append_only else []
        self._command = {"rclone": self._rclone, "restic": self._restic}[flavour]
        self.start()

    def start(self, port: int | None = None) -> None:
        """Start (again), on `port` when it is given."""
        self._server = Server(self._command, self._folder, environment=rclone_environment(self._folder), port=port)
        self.port = self._server.port
        self.url = f"http{'s' if self._certificate else ''}://{LOOPBACK}:{self.port}"

    def stop(self) -> None:
        """End the server."""
        self._server.stop()

    def _rclone(self, port: int) -> list[str]:
        options = ["--addr", f"{LOOPBACK}:{port}", "--user", USER, "--pass", PASSWORD, "--cache-objects=false"]
        if self._certificate:
            options += ["--cert", str(self._certificate.certificate), "--key", str(self._certificate.key)]
        return [program("rclone") or "rclone", "serve", "restic", str(self.root), *options, *self._more]

    def _restic(self, port: int) -> list[str]:
        passwords = self._folder / "htpasswd"
        passwords.write_text(f"{USER}:{{SHA}}{_sha1(PASSWORD)}\n", encoding="utf-8")
        options = ["--listen", f"{LOOPBACK}:{port}", "--path", str(self.root), "--htpasswd-file", str(passwords)]
        if self._certificate:
            options += [
                "--tls",
                "--tls-cert",
                str(self._certificate.certificate),
                "--tls-key",
                str(self._certificate.key),
            ]
        return [restic_rest_server() or "restic-rest-server", *options, *self._more]


def _sha1(password: str) -> str:
    """As Apache's htpasswd -s writes it: the one form the standard library can make."""
    return base64.b64encode(hashlib.sha1(password.encode(), usedforsecurity=False).digest()).decode()
