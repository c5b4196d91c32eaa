"""An authority of our own, and certificates by it: good ones, expired ones, ones of another name; all by openssl."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.servers.certificate import Certificate

_EC: Final = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


@dataclass(frozen=True, slots=True)
class Authority:
    """Signs what it is asked to, in a folder of its own."""

    folder: Path

    @property
    def certificate(self) -> Path:
        """What whoever trusts it holds."""
        return self.folder / "authority.pem"

    def certify(self, label: str, names: str, *, first: str = "", last: str) -> Certificate:
        """A certificate of such names ("DNS:localhost,IP:127.0.0.1"); `first` and `last` are its days, as YYYYMMDD."""
        made = Certificate(certificate=self.folder / f"{label}.pem", key=self.folder / f"{label}.key")
        request, extension = self.folder / f"{label}.csr", self.folder / f"{label}.ext"
        extension.write_text(f"subjectAltName={names}\n", encoding="ascii")
        self._openssl("req", *_EC, "-subj", f"/CN={label}", "-keyout", made.key, "-out", request)
        self._openssl(
            *("ca", "-batch", "-notext", "-config", self._settings(), "-extfile", extension, "-in", request),
            *("-startdate", f"{first or '20200101'}000000Z", "-enddate", f"{last}000000Z", "-out", made.certificate),
        )
        return made

    def _settings(self) -> Path:
        settings = self.folder / "authority.cnf"
        settings.write_text(
            "[ca]\ndefault_ca = own\n[own]\n"
            f"dir = {self.folder}\ndatabase = $dir/index\nserial = $dir/serial\nnew_certs_dir = $dir\n"
            "certificate = $dir/authority.pem\nprivate_key = $dir/authority.key\n"
            "default_md = sha256\npolicy = any\nunique_subject = no\n[any]\ncommonName = supplied\n",
            encoding="utf-8",
        )
        (self.folder / "index").touch()
        if not (self.folder / "serial").exists():
            (self.folder / "serial").write_text("01\n", encoding="ascii")
        return settings

    def _openssl(self, *arguments: str | Path) -> None:
        subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)


def make_authority(folder: Path) -> Authority:
    """A new one."""
    made = Authority(folder)
    made._openssl(
        *("req", "-x509", *_EC, "-days", "2", "-subj", "/CN=tandem-test-authority"),
        *("-keyout", folder / "authority.key", "-out", made.certificate),
    )
    return made
