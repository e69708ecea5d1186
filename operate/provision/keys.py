"""Public keys: those of a client, from an untrusted file that is never shown, and those of this host."""

from __future__ import annotations

import base64
import codecs
import functools
import hashlib
import os
import re
import stat
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Final

import msgspec

from importer.fs import open_file
from importer.model import printable

MAX_BYTES: Final = 64 << 10  # a key has 80 bytes to 3 KiB
_MAX_KEY_FILE_BYTES: Final = 1 << 20
# What sshd accepts by default. Not DSA: OpenSSH 10 has dropped it, and older ones refuse it by default.
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
_KEY_WORDS: Final = re.compile(rf"(?:^|[ \t]){KEY}(?=[ \t]|$)")  # with options in front, a comment behind
# The key of `rosterd doctor --probe`, valid for a minute; it remains only if the command is killed.
PROBE_NAME: Final = "rosterd-doctor-probe"
PROBE: Final = re.compile(rf'restrict,expiry-time="\d{{14}}Z",from="[^" ]*" {KEY} {PROBE_NAME}')
_LENGTH_BYTES: Final = 4
_LEAST_RSA_BITS: Final = 2048  # sshd takes 1024, which is too few: NIST SP 800-131A
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
    """A file contains anything but public keys; the text says what, without quoting it."""


class PublicKey(msgspec.Struct, frozen=True):
    """One key that sshd would accept."""

    key: str  # "ssh-ed25519 AAAA..."
    comment: str
    fingerprint: str  # "256 SHA256:... (ED25519)"

    @property
    def text(self) -> str:
        """Return the key as a line of a file of keys."""
        return f"{self.key} {self.comment}".rstrip()


def read_public_keys(path: Path) -> tuple[PublicKey, ...]:
    """Return the keys of a file, one a line; empty lines and comments are left out. Raises KeyRefused."""
    where = printable(os.fsencode(path))
    try:
        content = _read(path)
    except OSError as error:
        raise KeyRefused(f"{where}: {error.strerror}") from error
    except KeyRefused as error:
        raise KeyRefused(f"{where}: {error}") from None
    return public_keys(where, content)


def public_keys(where: str, content: bytes) -> tuple[PublicKey, ...]:
    """Return the keys of what was read from somewhere, as `read_public_keys` does. Raises KeyRefused."""
    try:
        text = _decoded(_limited(content, MAX_BYTES))
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


def _read(path: Path, max_bytes: int = MAX_BYTES) -> bytes:
    """Return the content of a small, regular file. Raises OSError, KeyRefused."""
    if path.is_symlink():
        raise KeyRefused("is a symbolic link. Name the file itself")
    with open_file(path) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise KeyRefused("is not a regular file")
        return _limited(file.read(max_bytes + 1), max_bytes)


def _limited(content: bytes, max_bytes: int) -> bytes:
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
        if kind == "ssh-rsa" and 0 < (bits := _rsa_bits(key)) < _LEAST_RSA_BITS:
            expected = f"expected at least {_LEAST_RSA_BITS}. Ask for one made with ssh-keygen -t ed25519"
            raise KeyRefused(f"{where}: is an RSA key of {bits} bits, which is weak; {expected}")
        if fingerprint := _fingerprint(f"{kind} {key}"):
            return PublicKey(f"{kind} {key}", comment.strip(), fingerprint)
    what = next((what for pattern, what in _OTHER_LINES.items() if re.search(pattern, line)), "is not a public key")
    raise KeyRefused(f"{where}: {what}")


def _rsa_bits(key: str) -> int:
    """Return the length of the modulus, 0 if there is none. Source: RFC 4253 section 6.6, "ssh-rsa"."""
    try:
        rest = base64.b64decode(key, validate=True)
    except ValueError:
        return 0
    fields = []
    while len(rest) >= _LENGTH_BYTES:
        end = _LENGTH_BYTES + int.from_bytes(rest[:_LENGTH_BYTES])
        fields.append(rest[_LENGTH_BYTES:end])
        rest = rest[end:]
    name_exponent_modulus = fields if len(fields) == 3 else [b""]  # noqa: PLR2004 - as in its name
    return int.from_bytes(name_exponent_modulus[-1]).bit_length()


@functools.lru_cache(maxsize=4096)
def _fingerprint(key: str) -> str:
    """Return size, hash and kind of a key, "" when OpenSSH cannot use it."""
    return fingerprints([key])[key]


def fingerprints(keys: Iterable[str]) -> dict[str, str]:
    """Return size, hash and kind of each key, "" for those that OpenSSH cannot use; by one process: it takes 4 ms."""
    known = {key: _hash(key) for key in keys}
    done = subprocess.run(
        ["ssh-keygen", "-l", "-f", "-"],  # noqa: S607 - as the host's PATH has it
        input="".join(f"{key}\n" for key in known),
        capture_output=True,
        text=True,
        check=False,
    )
    listed = [words for line in done.stdout.splitlines() if len(words := line.split()) > 2]  # noqa: PLR2004 - bits, hash, comment, kind
    usable = {words[1]: f"{words[0]} {words[1]} {words[-1]}" for words in listed}
    return {key: usable.get(digest, "") for key, digest in known.items()}


def _hash(key: str) -> str:
    """Return the hash of a key as ssh-keygen shows it, "" for no base64."""
    try:
        content = base64.b64decode(key.split()[1], validate=True)
    except ValueError:
        return ""
    return "SHA256:" + base64.b64encode(hashlib.sha256(content).digest()).decode().rstrip("=")


class KeyLine(msgspec.Struct, frozen=True):
    """A line of a file of keys; without a fingerprint sshd does not accept it as a key."""

    kind: str = ""
    fingerprint: str = ""
    expires_at: float | None = None
    key: str = ""  # as PublicKey has it
    comment: str = ""
    text: str = ""  # the whole line


def keys_in(path: Path) -> list[str]:
    """Return the keys in a file of keys, usable or not. Raises KeyRefused, OSError."""
    return [f"{key[1]} {key[2]}" for _, line in _tried_lines(path) if (key := _KEY_WORDS.search(line))]


def key_lines(path: Path, known: Mapping[str, str] = MappingProxyType({})) -> list[tuple[int, KeyLine]]:
    """
    Return the lines that sshd tries, with their numbers, without those of probes.

    `known` has fingerprints that need not be asked for. Raises KeyRefused, OSError.
    """
    return [(number, _key_line(line, known)) for number, line in _tried_lines(path)]


def _tried_lines(path: Path) -> Iterator[tuple[int, str]]:
    lines = enumerate(_read(path, _MAX_KEY_FILE_BYTES).decode("utf-8", "replace").split("\n"), 1)
    tried = ((number, line.strip(" \t\r")) for number, line in lines)
    return ((n, line) for n, line in tried if line and not line.startswith("#") and not PROBE.fullmatch(line))


def _key_line(line: str, known: Mapping[str, str]) -> KeyLine:
    """Return how sshd would read a line, with options in front of the key. Source: sshd(8)."""
    match = _KEY_WORDS.search(line)
    if match is None:
        return KeyLine(text=line)
    expiry = re.search(r'expiry-time="(\d{8,14}Z?)"', line[: match.start()])
    key = f"{match[1]} {match[2]}"
    fingerprint = known[key] if key in known else _fingerprint(key)
    expires_at = _time_of(expiry[1]) if expiry else None
    return KeyLine(match[1], fingerprint, expires_at, key, line[match.end() :].strip(), line)


def _time_of(expiry: str) -> float:
    """Return the moment that an expiry-time names, YYYYMMDD[HHMM[SS]], in the host's time zone unless it ends in Z."""
    form = {8: "%Y%m%d", 12: "%Y%m%d%H%M", 14: "%Y%m%d%H%M%S"}.get(len(expiry.rstrip("Z")), "")
    try:
        moment = datetime.strptime(expiry.rstrip("Z"), form)  # noqa: DTZ007 - the next line gives it its zone
    except ValueError:
        return 0.0  # sshd ignores such a line
    return moment.replace(tzinfo=UTC).timestamp() if expiry.endswith("Z") else moment.timestamp()


def host_keys() -> list[str]:
    """Return the fingerprints by which a client knows this host, "SHA256:... (ED25519)"; none where it has no keys."""
    paths = sorted(Path("/etc/ssh").glob("ssh_host_*_key.pub"))
    listed = (subprocess.run(["ssh-keygen", "-lf", key], capture_output=True, text=True, check=False) for key in paths)  # noqa: S603, S607 - as the host's PATH has it
    return [f"{words[1]} {words[-1]}" for done in listed if len(words := done.stdout.split()) > 2]  # noqa: PLR2004 - bits, fingerprint, comment, kind
