"""The request to a webhook: signed, verified, and over in time whatever the receiver does."""

from __future__ import annotations

import json
import re
import ssl
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import trustme

from importer.hooks import events
from importer.hooks.post import Attempt, HookTransport, HookUnusable
from importer.hooks.signature import headers, key_of
from importer.settings import HookSettings
from importer.store.tables.hooks import HookEvent
from tests import REPOSITORY
from tests.lab.receiver import SECRET, Mode, Receiver
from tests.lab.sshd import HOST

EVENT = events.made("file.refused", datetime(2026, 11, 22, tzinfo=UTC), {"client": "acme", "codes": ["header.missing"]})


def settings(url: str, *, ca_file: str = "", timeout_s: float = 10.0) -> HookSettings:
    return HookSettings(name="tickets", url=url, events=("*",), ca_file=ca_file, timeout_s=timeout_s)


def attempt(receiver: Receiver, mode: Mode = Mode.TAKE, *, timeout_s: float = 10.0) -> Attempt:
    receiver.mode = mode
    return HookTransport(settings(receiver.url, timeout_s=timeout_s), SECRET)(EVENT)


def test_the_receiver_can_check_what_it_gets() -> None:
    """One request to the path and query of the URL, with the body of the event and a signature that is right."""
    with Receiver() as receiver:
        assert Attempt(event=EVENT) == attempt(receiver)
    [request] = receiver.requests
    assert (EVENT.event_id, True, EVENT.body.encode()) == request
    assert ["/in?token=t0ken"] == receiver.paths
    data = request.event["data"]
    assert ("file.refused", "acme", ["header.missing"]) == (request.event["type"], data["client"], data["codes"])


def test_the_signature_is_that_of_standard_webhooks() -> None:
    """The example of the specification has this signature."""
    key = key_of("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    signed = headers(key, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=" == signed["webhook-signature"]


@pytest.mark.parametrize("secret", [SECRET, "a secret that is plain text"])
def test_the_receiver_of_the_document_agrees(secret: str) -> None:
    """What docs/webhooks.md shows accepts a request of now, and neither another body, another secret nor an old one."""
    [snippet] = re.findall(r"```python\n(.*?)```", (REPOSITORY / "docs" / "webhooks.md").read_text(), re.DOTALL)
    names: dict[str, Any] = {}
    exec(snippet, names)  # noqa: S102 - our own document
    now, body = int(time.time()), EVENT.body.encode()
    signed = headers(key_of(secret), EVENT.event_id, now, body)
    assert names["is_genuine"](signed, body, secret)
    assert not names["is_genuine"](signed, body + b" ", secret)
    assert not names["is_genuine"](signed, body, f"{secret}BBBB")
    assert not names["is_genuine"](headers(key_of(secret), EVENT.event_id, now - 600, body), body, secret)


@pytest.mark.parametrize(
    ("mode", "reason", "is_permanent"),
    [
        (Mode.FAIL, "HTTP 500", False),
        (Mode.REFUSE, "HTTP 400", True),
        (Mode.LEAVE, "HTTP 410", True),
        (Mode.REDIRECT, "HTTP 302: redirects are not followed", True),
    ],
)
def test_what_an_answer_means(mode: Mode, reason: str, is_permanent: bool) -> None:  # noqa: FBT001 - a case
    """All but 2xx is no success; no redirect is followed, and only 410 ends all tries."""
    with Receiver() as receiver:
        given = attempt(receiver, mode)
    assert Attempt(event=EVENT, reason=reason, is_permanent=is_permanent, is_gone=mode is Mode.LEAVE) == given
    assert 1 == len(receiver.paths)


def test_an_answer_without_end_is_not_read() -> None:
    """Only the status counts."""
    with Receiver() as receiver:
        assert Attempt(event=EVENT) == attempt(receiver, Mode.FLOOD)


@pytest.mark.parametrize("mode", [Mode.LISTEN, Mode.DRIP, Mode.HANG_UP])
def test_no_receiver_keeps_an_attempt_for_ever(mode: Mode) -> None:
    """One that is silent, that drips or hangs up has not taken the event, and is left after three time-outs at most."""
    started = time.monotonic()
    with Receiver() as receiver:
        try:
            given = attempt(receiver, mode, timeout_s=0.5)
        except OSError:  # of which the sender makes a result
            pass
        else:
            assert (Mode.DRIP, "") == (mode, given.reason)  # the status came, and it counts
    assert time.monotonic() - started < 30


def test_a_receiver_has_to_be_who_it_should_be(tmp_path: Path) -> None:
    """A certificate by an authority that is not trusted gets nothing; by one that `ca_file` has, the event."""
    context, paths = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), []
    for name in ("right", "other"):
        authority = trustme.CA()
        authority.cert_pem.write_to_path(str(tmp_path / name))
        paths.append(str(tmp_path / name))
        if name == "right":
            authority.issue_cert(HOST).configure_cert(context)
    with Receiver(context) as receiver:
        for ca_file in ("", paths[1]):
            with pytest.raises(ssl.SSLCertVerificationError):
                HookTransport(settings(receiver.url, ca_file=ca_file), SECRET)(EVENT)
        assert [] == receiver.requests
        HookTransport(settings(receiver.url, ca_file=paths[0]), SECRET).connect()
        assert [] == receiver.requests
        assert Attempt(event=EVENT) == HookTransport(settings(receiver.url, ca_file=paths[0]), SECRET)(EVENT)


def test_no_proxy_of_the_environment_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """The event goes to the receiver itself."""
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with Receiver() as receiver:
        assert Attempt(event=EVENT) == attempt(receiver)


@pytest.mark.parametrize("secret", ["", "short", "whsec_not base64 at all"])
def test_without_a_sound_secret_nothing_is_sent(secret: str) -> None:
    """The message names the places where the secret may be, and never the secret."""
    with pytest.raises(HookUnusable, match="hook_tickets, the variable ROSTERD_HOOK_TICKETS or secret_file") as raised:
        HookTransport(settings("https://tickets.example"), secret)
    assert not secret or secret not in str(raised.value)


def test_a_name_calls_nobody_in_a_chat() -> None:
    """What a client may call a file neither mentions people nor becomes a link; the object has it as it is."""
    at, hostile = datetime(2026, 11, 22, tzinfo=UTC), "@channel <!here> [x](y) `z`.csv"
    body = json.loads(events.made("file.held", at, {"file": hostile}).body)
    assert (hostile, set()) == (body["data"]["file"], {*"@<>[]`"} & {*body["text"]})


def test_a_body_has_no_empty_words() -> None:
    """The line for chats has what is not empty; the object has all."""
    event: HookEvent = events.made("inbox.restored", datetime(2026, 11, 22, tzinfo=UTC), {"client": "acme", "feed": ""})
    assert '"feed":""' in event.body
    assert ': inbox.restored, client acme"' in event.body
