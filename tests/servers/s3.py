"""`rclone serve s3`: a real S3 endpoint whose buckets are folders."""

from __future__ import annotations

from pathlib import Path

from tests.servers.lasting import Lasting
from tests.servers.program import LOOPBACK, Server, program
from tests.servers.rclone import rclone_environment

ACCESS_KEY = "tandem-test-access"
SECRET_KEY = "tandem-test/secret+key"


class S3Server(Lasting):
    """A running endpoint. What lies in `root/<bucket>/` are its objects."""

    access_key = ACCESS_KEY
    secret_key = SECRET_KEY

    def __init__(self, folder: Path, root: Path | None = None) -> None:
        """Start it; its files go into `folder`, the buckets into `root` (folder/root when not given)."""
        self.root = root or folder / "root"
        self.root.mkdir(parents=True, exist_ok=True)
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self.start()

    def start(self, port: int | None = None) -> None:
        """Start (again), on `port` when it is given."""
        self._server = Server(self._command, self._folder, environment=rclone_environment(self._folder), port=port)
        self.port = self._server.port
        self.endpoint = f"http://{LOOPBACK}:{self.port}"

    def make_bucket(self, name: str) -> str:
        """A bucket of this name; gives the name."""
        (self.root / name).mkdir(exist_ok=True)
        return name

    def stop(self) -> None:
        """End the server."""
        self._server.stop()

    def _command(self, port: int) -> list[str]:
        # A short cache time, so that what a test does on disk is seen at once; with 0s rclone 1.75 spins and stalls.
        options = [
            "--addr",
            f"{LOOPBACK}:{port}",
            "--auth-key",
            f"{ACCESS_KEY},{SECRET_KEY}",
            "--dir-cache-time",
            "1ms",
        ]
        return [program("rclone") or "rclone", "serve", "s3", str(self.root), *options]
