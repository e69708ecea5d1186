"""What `rosterd doctor` checks about encrypted uploads: gpg, our key, and the keys by which clients sign."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec

from importer.file.unwrap import gnupg
from importer.file.unwrap.gnupg import GnuPGFailed, Key
from operate.doctor.findings import CheckResult, Findings, Topic
from watcher.settings import Config

_SOON: Final = timedelta(days=20)
_RENEW: Final = "rosterd pgp renew; rosterd pgp public-key > import-key.asc, and send that file to all who encrypt"


def pgp_findings(config: Config) -> Findings:
    """Yield the results, if encrypted uploads are accepted."""
    if "pgp" not in config.file.accept:
        return
    topic, key_home = Topic("pgp"), config.file.pgp_home
    if not gnupg.is_installed():
        yield topic.fault("gpg or its agent is not installed, and encrypted uploads wait", "apt install gpg gpg-agent")
        return
    if not gnupg.has_key(key_home):
        yield topic.fault(f"{key_home}: has no key, and encrypted uploads wait", "rosterd pgp init")
        return
    mode = stat.S_IMODE(os.stat(key_home).st_mode)
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        yield topic.fault(f"{key_home}: others can read the private key, mode {mode:04o}", f"chmod 0700 {key_home}")
    try:
        with gnupg.home(key_home) as home:
            own, known = gnupg.own_keys(home), {key.fingerprint: key for key in gnupg.keys(home)}
    except GnuPGFailed as error:
        yield topic.fault(f"{key_home}: {error.strerror}", "rosterd pgp public-key says more")
        return
    if not own:
        yield topic.fault(
            f"{key_home}: has no private key, and encrypted uploads wait",
            "bring it back from a backup, or rosterd pgp init",
        )
    for key in own:
        result = _judged(topic, "our key", key, _RENEW)
        yield msgspec.structs.replace(result, pgp_key_expires_at=None if key.is_revoked else key.expires_at)
    yield from _signers(config, known)


def _signers(config: Config, known: dict[str, Key]) -> Iterator[CheckResult]:
    for client in config.clients:
        for signer in client.require_signature:
            topic, key = Topic(f"client {client.name}"), known.get(signer.upper())
            again = f"ask the client for it, then rosterd pgp trust {client.name} FILE --apply"
            if key is None:
                yield topic.fault(f"the key {signer.upper()}, by which it has to sign, is not known", again)
            else:
                yield _judged(topic, "the key by which it signs", key, f"have the client extend it; {again}")


def _judged(topic: Topic, what: str, key: Key, remedy: str) -> CheckResult:
    """Return whether a key can be used, and for how long."""
    now = datetime.now(UTC)
    if key.is_revoked:
        return topic.fault(f"{what}, {key.fingerprint}, is revoked", remedy)
    if key.expires_at is None:
        return topic.ok(f"{what}, {key.fingerprint}, does not expire")
    if key.expires_at <= now:
        return topic.fault(f"{what}, {key.fingerprint}, has expired on {key.expires_at:%Y-%m-%d}", remedy)
    if key.expires_at <= now + _SOON:
        days = (key.expires_at - now).days
        return topic.warning(f"{what}, {key.fingerprint}, expires in {days} days", remedy)
    return topic.ok(f"{what}, {key.fingerprint}, is valid until {key.expires_at:%Y-%m-%d}")
