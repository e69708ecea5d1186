"""A person with gpg and keys of their own, in a short home: who encrypts uploads, and whose keys they are for."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Self

PAST = "20250101T000000"  # when keys that have expired by now were made
_OPTIONS = ("--batch", "--quiet", "--no-tty", "--pinentry-mode=loopback", "--passphrase=", "--trust-model=always")
_KEY = """%no-protection
Key-Type: eddsa
Key-Curve: ed25519
Key-Usage: sign
Subkey-Type: ecdh
Subkey-Curve: cv25519
Subkey-Usage: encrypt
Name-Email: {name}@pgp.example
Expire-Date: {expires}
%commit
"""


class PgpUser:
    """A context manager: at the end the keys are gone, and the agent."""

    def __init__(self, name: str, *, expires: str = "0", made_at: str = "") -> None:
        """`expires`, `made_at`: as gpg has them, such as "30d" and PAST."""
        self.home = Path(tempfile.mkdtemp(prefix="pgp-", dir="/tmp"))
        self.gpg("--full-generate-key", sent=_KEY.format(name=name, expires=expires).encode(), at=made_at)
        self.fingerprint = next(
            line.split(":")[9]
            for line in self.gpg("--with-colons", "--list-keys").decode().splitlines()
            if "fpr" in line
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        subprocess.run(["gpgconf", "--homedir", self.home, "--kill", "all"], check=False, capture_output=True)
        shutil.rmtree(self.home, ignore_errors=True)

    def gpg(self, *arguments: str, sent: bytes = b"", at: str = "") -> bytes:
        """Run gpg, at another time if one is given, and return its output."""
        time = ("--faked-system-time", at) if at else ()
        return subprocess.run(
            ["gpg", "--homedir", self.home, *_OPTIONS, *time, *arguments],
            input=sent,
            capture_output=True,
            check=True,
            env={**os.environ, "LC_ALL": "C.UTF-8"},
        ).stdout

    @property
    def public_key(self) -> bytes:
        """Return the key as its owner sends it to others."""
        return self.gpg("--export", "--armor", self.fingerprint)

    def knows(self, *others: PgpUser) -> Self:
        """Take the public keys of others."""
        for other in others:
            self.gpg("--import", sent=other.public_key)
        return self

    def encrypt(self, text: bytes, *recipients: PgpUser, options: str = "", at: str = "") -> bytes:
        """Return what only the recipients can read."""
        named = [word for each in recipients for word in ("--recipient", each.fingerprint)]
        return self.gpg("--encrypt", *named, *options.split(), sent=text, at=at)
