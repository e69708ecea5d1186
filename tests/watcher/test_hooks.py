"""Webhooks, the whole way: told of files and troubles, signed; what they do wrong delays nobody."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Needs
from tests.lab import wait_until
from tests.lab.daemon import Rosterd, make_inboxes
from tests.lab.receiver import SECRET, Mode, Receiver

HEADER = "unique_id,login_source,first_name,last_name,email\n"
GOOD = HEADER + "S1,OPSCOM,Zoe,Roy,zoe@example.org\n"
PARTLY = GOOD + "S2,OPSCOM,Max,Roy,not an address\n"
REFUSED = "unique_id,nonsense\n1,2\n"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as running:
        yield running


@pytest.fixture
def rosterd(tmp_path: Path) -> Iterator[Rosterd]:
    """Yield an installation that does not run, with the secret of the hook in a file."""
    (tmp_path / "hook_secret").write_text(f"{SECRET}\n")
    with Rosterd(tmp_path, make_inboxes(tmp_path)) as installed:
        yield installed


def add_hook(rosterd: Rosterd, name: str, url: str, events: str = '"*"', *more: str) -> None:
    lines = ["[[hook]]", f'name = "{name}"', f'url = "{url}"', f"events = [{events}]", 'secret_file = "hook_secret"']
    rosterd.reload(lambda text: "\n".join([text, *lines, *more, ""]))


def figures(rosterd: Rosterd, name: str) -> dict[str, float]:
    """Return the samples of a metric by their labels."""
    lines = [line for line in rosterd.execute("metrics").stdout.splitlines() if line.startswith(f"{name}{{")]
    return {line.partition("{")[2].partition("}")[0]: float(line.rpartition(" ")[2]) for line in lines}


def test_files_and_troubles_are_told(rosterd: Rosterd, receiver: Receiver, tmp_path: Path) -> None:
    """How a file ended, and a trouble and its end, come signed, once, with counts and codes and no value of a cell."""
    add_hook(rosterd, "tickets", receiver.url)
    rosterd.start()
    rosterd.drop("partly.csv", PARTLY)
    rosterd.drop("refused.csv", REFUSED, "beta")
    rosterd.wait_for_imports(2)
    wait_until(lambda: receiver.of_type("file.imported") and receiver.of_type("file.refused"), "two events")
    beta = tmp_path / "beta"
    beta.rename(tmp_path / "away")
    wait_until(lambda: receiver.of_type("inbox.unusable"), "the trouble")
    (tmp_path / "away").rename(beta)
    wait_until(lambda: receiver.of_type("inbox.restored"), "its end")

    assert {True} == {request.is_genuine for request in receiver.requests}
    ids = [request.id for request in receiver.requests]
    assert sorted({*ids}) == sorted(ids)
    [imported] = receiver.of_type("file.imported")
    [row] = rosterd.query("SELECT * FROM imports WHERE client = 'acme'")
    data = imported.event["data"]
    expected = ("acme", "partly.csv", row["claim_id"], row["id"], "partly", 2, 1, 1, ["9033"])
    keys = ("client", "file", "claim_id", "import_id", "outcome", "rows", "created", "failed", "codes")
    assert expected == tuple(data[key] for key in keys)
    assert "not an address" not in "".join(request.body.decode() for request in receiver.requests)
    assert "zoe" not in "".join(request.body.decode().lower() for request in receiver.requests)
    [refused] = receiver.of_type("file.refused")
    assert ("beta", ["header.unknown"]) == (refused.event["data"]["client"], refused.event["data"]["codes"])
    assert "beta" == receiver.of_type("inbox.unusable")[0].event["data"]["client"]
    wait_until(lambda: figures(rosterd, "rosterd_hook_events_sent_total")['hook="tickets"'] == len(ids), "the figure")
    assert "t0ken" not in rosterd.log()
    assert "t0ken" not in (tmp_path / "state" / "adopted.json").read_text()


@pytest.mark.parametrize("mode", [Mode.LISTEN, Mode.DRIP, Mode.FLOOD, Mode.FAIL, Mode.LEAVE])
def test_a_bad_receiver_delays_nobody(rosterd: Rosterd, receiver: Receiver, mode: Mode) -> None:
    """Imports, mail and other hooks go on, and the service stops in time; what is not taken is told by `status`."""
    receiver.mode = mode
    with Receiver() as good:
        add_hook(rosterd, "bad", receiver.url, '"file.*"')
        add_hook(rosterd, "good", good.url, '"file.*"')
        rosterd.start()
        for number in range(3):
            rosterd.drop(f"{number}.csv", PARTLY)
            rosterd.wait_for_imports(number + 1)
        wait_until(lambda: len(good.of_type("file.imported")) == 3, "the other hook")
        wait_until(rosterd.mails, "mail")
        wait_until(lambda: receiver.requests, "the bad one")
        if mode in (Mode.FAIL, Mode.LEAVE):
            wait_until(lambda: "hook bad" in rosterd.execute("status").stdout, "status to say so")
        rosterd.stop()
    assert 3 == len(good.requests)


def test_what_was_not_taken_arrives_later(rosterd: Rosterd, receiver: Receiver) -> None:
    """After a restart, or `rosterd hook retry`, the same event comes under the same id; it can be listed."""
    receiver.mode = Mode.FAIL
    add_hook(rosterd, "tickets", receiver.url, '"file.*"')
    rosterd.start()
    rosterd.drop("good.csv", GOOD)
    rosterd.wait_for_event("hook.deferred", hook="tickets", reason="HTTP 500")
    rosterd.stop()
    [listed] = json.loads(rosterd.execute("hook", "list", "--json").stdout)
    assert ("waiting", "file.imported", "HTTP 500") == (listed["state"], listed["event"], listed["last_error"])
    shown = json.loads(rosterd.execute("hook", "show", str(listed["id"]), "--json").stdout)
    assert "file.imported" == shown["body"]["type"]

    receiver.mode = Mode.TAKE
    rosterd.start()
    assert 0 == rosterd.execute("hook", "retry", str(listed["id"])).returncode
    rosterd.wait_for_event("hook.sent", hook="tickets")
    first, *_, last = receiver.requests
    assert (first.id, first.body) == (last.id, last.body)
    refused = rosterd.execute("hook", "drop", str(listed["id"]))
    assert (1, True) == (refused.returncode, "is waiting or dead" in refused.stderr)


def test_a_hook_without_a_secret_stops_nothing(rosterd: Rosterd, receiver: Receiver, tmp_path: Path) -> None:
    """Log, status and doctor say why nothing is sent; once the secret is there what has waited is sent."""
    secret = tmp_path / "hook_secret"
    secret.unlink()
    add_hook(rosterd, "tickets", receiver.url, '"file.*"')
    rosterd.start()
    rosterd.drop("good.csv", GOOD)
    rosterd.wait_for_imports(1)
    assert "hook_secret" in str(rosterd.wait_for_event("hook.unusable", hook="tickets")["reason"])
    wait_until(lambda: "Events for webhooks wait" in rosterd.execute("status").stdout, "status to say so")
    findings = json.loads(rosterd.execute("doctor", "--json").stdout)["findings"]
    assert ["fault"] == [each["level"] for each in findings if each["topic"] == "hook tickets"]
    secret.write_text(f"{SECRET}\n")
    wait_until(lambda: receiver.of_type("file.imported"), "the event")


def test_a_reload_changes_hooks(rosterd: Rosterd, receiver: Receiver) -> None:
    """A hook is added, and removed again with what waits for it, without a restart; an unsound one is refused."""
    rosterd.start()
    add_hook(rosterd, "tickets", receiver.url, '"file.*"')
    rosterd.wait_for_event("config.reloaded")
    rosterd.drop("good.csv", GOOD)
    wait_until(lambda: receiver.of_type("file.imported"), "the event")
    receiver.mode = Mode.FAIL
    rosterd.drop("more.csv", PARTLY)
    rosterd.wait_for_event("hook.deferred")
    rosterd.reload(lambda text: text.replace('"file.*"', '"file.nonsense"'))
    assert "docs/webhooks.md" in str(rosterd.wait_for_event("config.refused")["reason"])
    rosterd.reload(lambda text: text.partition("[[hook]]")[0])
    wait_until(lambda: len(rosterd.events("config.reloaded")) == 2, "the reload")
    wait_until(lambda: "given up for the hook tickets" in rosterd.execute("status").stdout, "status to say so")


def test_a_hook_can_be_tested(rosterd: Rosterd, receiver: Receiver, needs: Needs) -> None:
    """`hook test` prints what the receiver answers, whether the service runs or not; `doctor` sends nothing."""
    needs(root=True)
    add_hook(rosterd, "tickets", receiver.url)
    findings = json.loads(rosterd.execute("doctor", "--json").stdout)["findings"]
    assert ["ok"] == [each["level"] for each in findings if each["topic"] == "hook tickets"]
    assert [] == receiver.requests
    assert 0 == rosterd.execute("hook", "test", "tickets").returncode
    assert ["hook.test"] == [request.event["type"] for request in receiver.requests if request.is_genuine]
    receiver.mode = Mode.REDIRECT
    refused = rosterd.execute("hook", "test", "tickets")
    assert (1, "127.0.0.1: HTTP 302: redirects are not followed\n") == (refused.returncode, refused.stderr)
    unknown = rosterd.execute("hook", "test", "ticket")
    assert (2, True) == (unknown.returncode, 'did you mean "tickets"?' in unknown.stderr)


def test_a_single_pass_sends_events(rosterd: Rosterd, receiver: Receiver) -> None:
    """`rosterd sweep` sends what it queues before it ends."""
    add_hook(rosterd, "tickets", receiver.url, '"file.*"')
    rosterd.drop("good.csv", GOOD)
    assert 0 == rosterd.execute("sweep").returncode
    assert ["file.imported"] == [request.event["type"] for request in receiver.requests]
