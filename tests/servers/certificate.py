"""A self-signed certificate for 127.0.0.1, made by openssl: its own authority."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.servers.program import LOOPBACK


@dataclass(frozen=True, kw_only=True, slots=True)
class Certificate:
    """Paths of two PEM files."""

    certificate: Path
    key: Path


def make_certificate(folder: Path) -> Certificate:
    """A new key and certificate in `folder`, valid for a day."""
    folder.mkdir(parents=True, exist_ok=True)
    made = Certificate(certificate=folder / "certificate.pem", key=folder / "certificate.key")
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-days", "1", "-subj", "/CN=tandem-test", "-addext", f"subjectAltName=IP:{LOOPBACK}"]
    command += ["-keyout", str(made.key), "-out", str(made.certificate)]
    subprocess.run(command, check=True, capture_output=True)
    return made
