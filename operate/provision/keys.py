"""Public keys: those of a client, from a file that anybody may have written, and never shown; those of this host."""

from __future__ import annotations

import codecs
import os
import re
import stat
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec

from importer.fs import open_file
from importer.model import printable

_MAX_BYTES: Final = 64 << 10  # a key has 80 bytes to 3 KiB
_MAX_KEY_FILE_BYTES: Final = 1 << 20
# What sshd takes by default. DSA is missing: OpenSSH 10 has dropped it, and older ones refuse it unless told otherwise.
KINDS: Final = (
    "ssh-ed25519",
    "ssh-rsa",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "sk-ssh-ed25519@openssh.com",
    "sk-ecdsa-sha2-nistp256@openssh.com",
)
KEY: Final = rf"({'|'.join(map(re.escape, KINDS))})[ \t]+([A-Za-z0-9+/]+={{0,2}})"
_LINE: Final = re.compile(rf"{KEY}(?:[ \t]+(.*))?")
# What `rosterd doctor --probe` lets in for a minute, and leaves behind only when it is killed.
PROBE_NAME: Final = "rosterd-doctor-probe"
PROBE: Final = re.compile(rf'restrict,expiry-time="\d{{14}}Z",from="[^" ]*" {KEY} {PROBE_NAME}')
_PRIVATE: Final = (
    "is a private key, which only its owner should have. Ask for the public key, usually the file that ends in .pub"
)
_OTHER_FILES: Final = {
    r"BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY|^PuTTY-User-Key-File-|^SSH PRIVATE KEY FILE": _PRIVATE,
    r"^---- BEGIN SSH2 PUBLIC KEY": "is a public key in the format of RFC 4716; ssh-keygen -i -f FILE converts it",
    r"^-----BEGIN [A-Z ]{0,40}PUBLIC KEY": "is a public key in PEM; ssh-keygen -i -m PKCS8 -f FILE converts it",
}
_OTHER_LINES: Final = {
    rf"[\s,]{KEY}": "has options before the key. Give the key alone",
    r"-cert-v01@openssh\.com\s": "is a certificate. Give the key that it was issued for",
    r"^ssh-dss\s": "is a DSA key, which sshd no longer accepts. Ask for one made with ssh-keygen -t ed25519",
}


class KeyRefused(Exception):
    """A file does not hold public keys, and nothing else; the text says what it is, and shows nothing of it."""


class PublicKey(msgspec.Struct, frozen=True):
    """One key that sshd would take."""

    text: str  # "ssh-ed25519 AAAA... comment"
    fingerprint: str  # "256 SHA256:... (ED25519)"


def read_public_keys(path: Path) -> tuple[PublicKey, ...]:
    """Return the keys of a file, one a line; empty lines and comments are left out. Raises KeyRefused."""
    where = printable(os.fsencode(path))
    try:
        text = _decoded(_read(path))
    except OSError as error:
        raise KeyRefused(f"{where}: {error.strerror}") from error
    except (KeyRefused, UnicodeError) as error:
        reason = error if isinstance(error, KeyRefused) else "is not text. Expected public keys, one per line"
        raise KeyRefused(f"{where}: {reason}") from None
    for pattern, what in _OTHER_FILES.items():
        if re.search(pattern, text, re.MULTILINE):
            raise KeyRefused(f"{where}: {what}")
    keys = tuple(_keys(where, text))
    if not keys:
        raise KeyRefused(f"{where}: contains no key. Expected public keys, one per line")
    return keys


def _read(path: Path, max_bytes: int = _MAX_BYTES) -> bytes:
    """Return what a file holds, if it is a regular one, and small. Raises OSError, KeyRefused."""
    if path.is_symlink():
        raise KeyRefused("is a symbolic link. Name the file itself")
    with open_file(path) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise KeyRefused("is not a regular file")
        content = file.read(max_bytes + 1)
    if len(content) > max_bytes:
        raise KeyRefused(f"has more than {max_bytes >> 10} KiB. Expected public keys, one per line")
    return content


def _decoded(content: bytes) -> str:
    """Return the text of a file; PowerShell writes UTF-16. Raises UnicodeError."""
    is_utf16 = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    return content.decode("utf-16" if is_utf16 else "utf-8-sig")


def _keys(where: str, text: str) -> Iterator[PublicKey]:
    for number, line in enumerate(text.split("\n"), 1):
        stripped = line.strip(" \t\r")
        if stripped and not stripped.startswith("#"):
            yield _key(f"{where} line {number}", stripped)


def _key(where: str, line: str) -> PublicKey:
    """Return the key of a line. Raises KeyRefused."""
    if not line.replace("\t", " ").isprintable():
        raise KeyRefused(f"{where}: contains control characters")
    if match := _LINE.fullmatch(line):
        kind, key, comment = match.groups(default="")
        if re.search(KEY, comment):
            raise KeyRefused(
                f"{where}: contains two keys, of which sshd would use only the first. Put each on its own line"
            )
        if fingerprint := _fingerprint(f"{kind} {key}"):
            return PublicKey(f"{kind} {key} {comment}".rstrip(), fingerprint)
    what = next((what for pattern, what in _OTHER_LINES.items() if re.search(pattern, line)), "is not a public key")
    raise KeyRefused(f"{where}: {what}")


def _fingerprint(key: str) -> str:
    """Return size, hash and kind of a key, "" when OpenSSH cannot use it."""
    done = subprocess.run(
        ["ssh-keygen", "-l", "-f", "-"],  # noqa: S607 - as the host's PATH has it
        input=f"{key}\n",
        capture_output=True,
        text=True,
        check=False,
    )
    words = done.stdout.split()
    return f"{words[0]} {words[1]} {words[-1]}" if done.returncode == 0 and len(words) > 2 else ""  # noqa: PLR2004 - bits, hash, comment, kind


class KeyLine(msgspec.Struct, frozen=True):
    """A line of a file in which sshd looks for keys; without a fingerprint it is none to sshd."""

    kind: str = ""
    fingerprint: str = ""
    expires_at: float | None = None


def key_lines(path: Path) -> list[tuple[int, KeyLine]]:
    """Return the lines that sshd tries, with their numbers, but for those of probes. Raises KeyRefused, OSError."""
    lines = enumerate(_read(path, _MAX_KEY_FILE_BYTES).decode("utf-8", "replace").split("\n"), 1)
    tried = ((number, line.strip(" \t\r")) for number, line in lines)
    return [
        (n, _key_line(line)) for n, line in tried if line and not line.startswith("#") and not PROBE.fullmatch(line)
    ]


def _key_line(line: str) -> KeyLine:
    """Return what sshd would make of a line, options in front of the key included. Source: sshd(8)."""
    match = re.search(rf"(?:^|[ \t]){KEY}(?=[ \t]|$)", line)
    if match is None:
        return KeyLine()
    expiry = re.search(r'expiry-time="(\d{8,14}Z?)"', line[: match.start()])
    return KeyLine(match[1], _fingerprint(f"{match[1]} {match[2]}"), _time_of(expiry[1]) if expiry else None)


def _time_of(expiry: str) -> float:
    """Return the moment that an expiry-time names, YYYYMMDD[HHMM[SS]], of this host's zone unless it ends in Z."""
    form = {8: "%Y%m%d", 12: "%Y%m%d%H%M", 14: "%Y%m%d%H%M%S"}.get(len(expiry.rstrip("Z")), "")
    try:
        moment = datetime.strptime(expiry.rstrip("Z"), form)  # noqa: DTZ007 - the next line gives it its zone
    except ValueError:
        return 0.0  # sshd takes no such line
    return moment.replace(tzinfo=UTC).timestamp() if expiry.endswith("Z") else moment.timestamp()


def host_keys() -> list[str]:
    """Return the fingerprints by which a client knows this host, "SHA256:... (ED25519)"; none where it has no keys."""
    found = sorted(Path("/etc/ssh").glob("ssh_host_*_key.pub"))
    listed = (subprocess.run(["ssh-keygen", "-lf", key], capture_output=True, text=True, check=False) for key in found)  # noqa: S603, S607 - as the host's PATH has it
    return [f"{words[1]} {words[-1]}" for done in listed if len(words := done.stdout.split()) > 2]  # noqa: PLR2004 - bits, fingerprint, comment, kind
