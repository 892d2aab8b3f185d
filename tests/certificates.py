"""Certificates of tests, made with the openssl command: an authority, and who it vouches for."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")


@dataclass(frozen=True)
class Identity:
    """A certificate and its key, as PEM files."""

    certificate: Path
    key: Path


@dataclass(frozen=True)
class Authority:
    """A certificate authority in a folder of its own."""

    folder: Path

    @classmethod
    def make(cls, folder: Path) -> Authority:
        folder.mkdir()
        authority = cls(folder)
        openssl(
            *("req", "-x509", *_KEY, "-days", "2", "-subj", f"/CN={folder.name}"),
            *("-keyout", str(folder / "ca.key"), "-out", str(authority.certificate)),
        )
        return authority

    @property
    def certificate(self) -> Path:
        return self.folder / "ca.pem"

    def issue(self, name: str, *, names: str = "IP:127.0.0.1", days: int = 2) -> Identity:
        """A certificate for these names, valid for so many days (-1: over already)."""
        made = Identity(self.folder / f"{name}.pem", self.folder / f"{name}.key")
        request, extensions = self.folder / f"{name}.csr", self.folder / f"{name}.ext"
        openssl(
            *("req", *_KEY),
            *("-subj", f"/CN={name}", "-keyout", str(made.key), "-out", str(request)),
        )
        extensions.write_text(f"subjectAltName={names}\n")
        openssl(
            *("x509", "-req", "-in", str(request), "-days", str(days)),
            *("-CA", str(self.certificate), "-CAkey", str(self.folder / "ca.key")),
            *("-CAcreateserial", "-extfile", str(extensions), "-out", str(made.certificate)),
        )
        return made


def openssl(*words: str) -> None:
    subprocess.run(["openssl", *words], check=True, capture_output=True)
