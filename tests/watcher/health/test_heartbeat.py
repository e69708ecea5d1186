"""The sign of life: it is given after good rounds only, never waited for, and its URL is never told."""

from __future__ import annotations

import contextlib
import json
import ssl
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme
from structlog.testing import capture_logs

from tests.lab import wait_until
from tests.lab.sshd import HOST, free_port
from tests.lab.web import Mode, WebServer
from watcher.config import ConfigError, load, ping_url
from watcher.health import heartbeat as pinging
from watcher.health.heartbeat import Heartbeat, pause_s, request
from watcher.settings import ServiceSettings

SECRET = "/5c0e-secret-4711"


@pytest.fixture
def server() -> Iterator[WebServer]:
    with WebServer() as web_server:
        yield web_server


@pytest.fixture
def heartbeat(server: WebServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Heartbeat]:
    """Yield a ping of the server that does not pause for long."""
    monkeypatch.setattr(pinging, "_FIRST_PAUSE_S", 0.02)
    with contextlib.closing(Heartbeat(server.url + SECRET)) as started:
        started.start()
        yield started


def test_a_round_of_all_inboxes_is_told(server: WebServer, heartbeat: Heartbeat) -> None:
    """The URL is requested when every inbox was swept since the last time, not for each of them."""
    for client in ("acme", "acme", "beta"):
        assert [] == server.paths
        heartbeat.note_sweep(client, {"acme", "beta"})
    wait_until(lambda: server.paths, "the request")
    heartbeat.note_sweep("beta", {"acme", "beta"})
    heartbeat.close()
    assert [SECRET] == server.paths


def test_trouble_is_told_once_and_without_the_url(server: WebServer, heartbeat: Heartbeat) -> None:
    """A request that fails is made again until it works; the log has one event for each, and the host only."""
    server.mode = Mode.REFUSE
    with capture_logs() as logged:
        heartbeat.note_sweep("acme", {"acme"})
        wait_until(lambda: len(server.paths) >= 3, "three requests")
        server.mode = Mode.ANSWER
        wait_until(lambda: len(logged) >= 2, "the end of the trouble")
    assert [("ping.failed", "HTTP 503"), ("ping.restored", None)] == [(e["event"], e.get("reason")) for e in logged]
    assert "secret" not in json.dumps(logged)
    assert {HOST} == {entry["host"] for entry in logged}


def test_an_old_round_is_no_sign_of_life(
    server: WebServer, heartbeat: Heartbeat, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What could not be told in time is not told any more."""
    monkeypatch.setattr(pinging, "_FRESH_S", 0)
    heartbeat.note_sweep("acme", {"acme"})
    heartbeat.close()
    assert [] == server.paths


def test_nobody_waits_for_an_answer(server: WebServer, heartbeat: Heartbeat) -> None:
    """A server that takes the request and says nothing holds up neither the sweeps nor the end."""
    server.mode = Mode.LISTEN
    began_at = time.monotonic()
    for _ in range(3):
        heartbeat.note_sweep("acme", {"acme"})
        wait_until(lambda: server.paths, "the request")
    heartbeat.close()
    assert time.monotonic() - began_at < pinging._TIME_OUT_S


def test_a_round_before_the_end_is_told(server: WebServer) -> None:
    """A single pass, which ends at once, gives its sign of life, too."""
    heartbeat = Heartbeat(server.url + SECRET)
    heartbeat.start()
    heartbeat.note_sweep("acme", {"acme"})
    heartbeat.close()
    assert [SECRET] == server.paths


def test_redirects_are_followed(server: WebServer) -> None:
    """A URL may lead to another one."""
    server.mode = Mode.REDIRECT
    assert "" == request(server.url + SECRET)
    assert [SECRET, f"/moved{SECRET}"] == server.paths


def test_certificates_are_verified() -> None:
    """A server whose certificate nobody vouches for gets no request."""
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    trustme.CA().issue_cert(HOST).configure_cert(tls)
    with WebServer(tls) as stranger:
        assert "certificate verify failed" in request(stranger.url + SECRET)
    assert [] == stranger.paths


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        (f"http://{HOST}:{free_port()}{SECRET}", "Connection refused"),
        (f"file:///etc/hostname?{SECRET}", "not a URL of http or https"),
        (f"ftp://{HOST}{SECRET}", "not a URL of http or https"),
        (f"http://{HOST}:x{SECRET}", "InvalidURL"),
        (f"http://{HOST}/ {SECRET}", "InvalidURL"),
        (f"no URL {SECRET}", "ValueError"),
    ],
    ids=["nobody there", "file", "ftp", "port", "blank", "nonsense"],
)
def test_why_a_request_failed(url: str, reason: str) -> None:
    """The reason says what was wrong and quotes nothing of the URL."""
    told = request(url)
    assert reason in told
    assert "secret" not in told


def test_pauses_grow() -> None:
    """After failures it is tried again later and later, at least every five minutes."""
    assert [0, 5, 10, 20] == [pause_s(failures) for failures in range(4)]
    assert pause_s(100) == 300


# The setting


def test_the_url_may_be_a_credential(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The credential comes first, then the environment, then the file; an empty credential is none."""
    service = ServiceSettings(ping_url="https://a.example/file")
    assert "https://a.example/file" == ping_url(service)
    monkeypatch.setenv("ROSTERD_PING_URL", "https://a.example/environment")
    assert "https://a.example/environment" == ping_url(service)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    (tmp_path / "ping_url").write_text("https://a.example/credential\n")
    assert "https://a.example/credential" == ping_url(service)
    (tmp_path / "ping_url").write_text("\n")
    assert "https://a.example/file" == ping_url(service)


@pytest.mark.parametrize(
    "value", ['"a.example/secret"', '"ftp://a.example/secret"', '["https://a.example/secret"]', "7"]
)
def test_a_url_that_is_none_is_not_shown(value: str, tmp_path: Path) -> None:
    """What cannot be requested stops the start, and the complaint does not quote it."""
    path = tmp_path / "config.toml"
    path.write_text(f"[service]\nping_url = {value}\n")
    with pytest.raises(ConfigError, match=r"config.toml service.ping_url: got a secret") as caught:
        load(path)
    assert "secret/" not in str(caught.value)
    assert "example" not in str(caught.value)
