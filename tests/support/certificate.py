"""Certificates of our own making."""
from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple, Tuple

import pytest


class Certificate(NamedTuple):
    """Signed by itself, so it is its own authority."""

    cert: Path
    key: Path

    @property
    def options(self) -> Tuple[str, ...]:
        """Of llamaswap's command line."""
        return "--tls-cert-file", str(self.cert), "--tls-key-file", str(self.key)


def make_certificate(folder: Path) -> Certificate:
    """For localhost and 127.0.0.1. Skips the test where there is no openssl."""
    if shutil.which("openssl") is None:
        pytest.skip("there is no openssl to make a certificate with")
    made = Certificate(folder / "cert.pem", folder / "key.pem")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                    "-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
                    "-keyout", str(made.key), "-out", str(made.cert)], check=True, capture_output=True, timeout=60)
    return made
