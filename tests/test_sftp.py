"""Uploads by real SFTP clients to a real OpenSSH server, with the daemon beside it."""

from __future__ import annotations

import csv
import io
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Needs
from tests.lab.clients import DRIVERS, StalledUpload, Visit
from tests.lab.daemon import REPLY_TO, Rosterd
from tests.lab.postgresql import PostgresqlServer
from tests.lab.sshd import InboxOwner, Sshd

SERVICE_UID = 61900
HEADER = "unique_id,login_source,first_name,last_name,email,province"
ANN = "1,OPSCOM,Ann,Lee,ann@school.example,ON"
BEN = "2,OPSCOM,Ben,Roy,ben@school.example,QC"
EVE_NOWHERE = "3,OPSCOM,Eve,Day,eve@school.example,ZZ"
FAY_WITHOUT_EMAIL = "4,OPSCOM,Fay,Orr,,ON"


@pytest.mark.parametrize("name", DRIVERS)
def test_every_client_is_served(name: str, acme: Visit, rosterd: Rosterd, needs: Needs) -> None:
    """A file is imported once whatever program uploads it, that program ends well, and nothing stays in the inbox."""
    needs(*DRIVERS[name].programs)

    done = DRIVERS[name].upload(acme, acme.write("export.csv", HEADER, ANN, BEN), "users.csv").run()
    assert done.returncode == 0, done.stderr
    rosterd.wait_for_imports(1)
    rosterd.stop()

    assert [row["outcome"] for row in rosterd.imports()] == ["imported"]
    assert list(rosterd.users()) == ["1", "2"]
    assert rosterd.inbox() == []
    assert rosterd.archived() == ["users.csv", "users.result.txt"]


@pytest.mark.parametrize("name", ["sftp", "lftp use-temp-file", "rclone"])
def test_client_may_own_its_inbox(name: str, tmp_path: Path, needs: Needs) -> None:
    """The simple arrangement, in which the inbox belongs to the client, works as well."""
    needs("sshd", *DRIVERS[name].programs, root=True)
    with Sshd(owner=InboxOwner.CLIENT) as sshd, Rosterd(tmp_path, {"acme": sshd.login().inbox}) as rosterd:
        rosterd.start()
        acme = Visit(sshd, sshd.login(), tmp_path)

        done = DRIVERS[name].upload(acme, acme.write("export.csv", HEADER, ANN), "users.csv").run()
        assert done.returncode == 0, done.stderr
        rosterd.wait_for_imports(1)

        assert list(rosterd.users()) == ["1"]
        assert rosterd.inbox() == []


@pytest.fixture
def service_folder(needs: Needs) -> Iterator[Path]:
    """Yield a folder of the service's own, which it can reach, unlike those below pytest's."""
    needs(root=True)
    with tempfile.TemporaryDirectory(prefix="rosterd-") as folder:
        os.chown(folder, SERVICE_UID, SERVICE_UID)
        yield Path(folder)


def test_service_needs_no_root(service_folder: Path, tmp_path: Path, needs: Needs) -> None:
    """A plain system user with two capabilities imports even what the client let nobody else read."""
    needs("sshd", "sftp", "setpriv")
    with (
        Sshd(service_uid=SERVICE_UID, deny_links=True) as sshd,
        Rosterd(service_folder, {"acme": sshd.login().inbox}, service_uid=SERVICE_UID) as rosterd,
    ):
        rosterd.start()
        acme = Visit(sshd, sshd.login(), tmp_path)
        private = acme.write("export.csv", HEADER, ANN, EVE_NOWHERE)
        private.chmod(0o600)

        acme.execute(f'put -p "{private}" users.csv')
        rosterd.wait_for_imports(1)

        assert list(rosterd.users()) == ["1"]
        assert rosterd.archived() == ["users.csv", "users.failed.csv", "users.result.txt"]


def test_client_reads_its_results_and_cannot_change_them(tmp_path: Path, needs: Needs) -> None:
    """The client fetches what lies in `.bak` with its own login, and can neither remove nor replace it."""
    needs("sshd", "sftp", root=True)
    with Sshd(deny_links=True) as sshd, Rosterd(tmp_path, {"acme": sshd.login().inbox}) as rosterd:
        rosterd.start()
        acme = Visit(sshd, sshd.login(), tmp_path)
        acme.upload("users.csv", HEADER, ANN)
        rosterd.wait_for_imports(1)
        before = rosterd.bak()
        [result] = [name for name in before if name.endswith(".result.txt")]

        acme.execute(f'get ".bak/{result}" "{acme.home}/result.txt"')
        refused = [
            acme.batch(change).run().returncode
            for change in (f'rm ".bak/{result}"', "rename .bak other", f'put "{acme.home}/result.txt" .bak/mine.txt')
        ]

        assert (acme.home / "result.txt").read_bytes() == rosterd.read_bak("users.result.txt")
        assert refused == [1, 1, 1]
        assert rosterd.bak() == before


def test_stalled_upload_is_imported_whole(acme: Visit, rosterd: Rosterd) -> None:
    """An upload that stalls for three quiet periods on the open handle is imported once and whole, afterwards."""
    with StalledUpload(acme, acme.write("slow.csv", HEADER, ANN, BEN), "slow.csv") as slow:
        for number in range(1, 4):  # each of these takes a quiet period
            acme.upload(f"meanwhile{number}.csv", HEADER, ANN)
            rosterd.wait_for_imports(number)
        before = rosterd.inbox(), list(rosterd.users())
        status = slow.go_on()
    rosterd.wait_for_imports(4)

    assert before == (["slow.csv"], ["1"])
    assert status == 0
    assert [row["file"] for row in rosterd.imports()][3:] == ["slow.csv"]
    assert list(rosterd.users()) == ["1", "2"]
    assert rosterd.read_bak("slow.csv").decode().splitlines() == [HEADER, ANN, BEN]


def test_interrupted_upload_is_held_until_resumed(acme: Visit, rosterd: Rosterd) -> None:
    """A file whose upload broke off stays where it is, so that the client can resume, and is then imported once."""
    whole = acme.write("whole.csv", HEADER, ANN, BEN)
    with StalledUpload(acme, whole, "users.csv"):
        pass
    rosterd.wait_for_event("file.held", client="acme", file="users.csv")

    acme.execute(f'reput "{whole}" users.csv')
    rosterd.wait_for_imports(1)

    assert [(row["outcome"], row["created"]) for row in rosterd.imports()] == [("imported", 2)]
    assert rosterd.read_bak("users.csv") == whole.read_bytes()


def test_last_content_counts_when_overwritten(acme: Visit, rosterd: Rosterd) -> None:
    """Of a file that is overwritten before it is imported only the last content is imported."""
    first, second = acme.write("first.csv", HEADER, ANN), acme.write("second.csv", HEADER, BEN)

    acme.execute(f'put "{first}" users.csv', f'put "{second}" users.csv')
    rosterd.wait_for_imports(1)
    rosterd.stop()

    assert len(rosterd.imports()) == 1
    assert list(rosterd.users()) == ["2"]
    assert rosterd.read_bak("users.csv").decode().splitlines() == [HEADER, BEN]


def test_same_name_again_is_another_upload(acme: Visit, rosterd: Rosterd) -> None:
    """A name that comes again as soon as it is free is imported again, and both uploads are kept."""
    for number, row in enumerate([ANN, BEN, ANN.replace("Ann", "Anna")], start=1):
        acme.upload("users.csv", HEADER, row)
        rosterd.wait_for_imports(number)

    imports = rosterd.imports()
    assert [(row["created"], row["updated"]) for row in imports] == [(1, 0), (1, 0), (0, 1)]
    assert len({row["sha256"] for row in imports}) == 3
    assert rosterd.users()["1"]["first_name"] == "Anna"
    assert rosterd.archived() == ["users.csv"] * 3 + ["users.result.txt"] * 3


def test_failed_rows_come_back_and_can_be_corrected(acme: Visit, rosterd: Rosterd) -> None:
    """Good rows are recorded, bad ones are mailed as a CSV which, corrected and uploaded, imports just these."""
    acme.upload("users.csv", HEADER, ANN, EVE_NOWHERE, BEN, FAY_WITHOUT_EMAIL)
    [first] = rosterd.wait_for_imports(1)

    assert (first["outcome"], first["created"], first["failed"]) == ("partly", 2, 2)
    assert list(rosterd.users()) == ["1", "2"]
    mailed = failed_csv_of(rosterd)
    assert mailed == rosterd.read_bak("users.failed.csv")
    rows = list(csv.DictReader(io.StringIO(mailed.decode("utf-8-sig"))))
    assert [(row["unique_id"], row["import_line"], row["import_code"]) for row in rows] == [
        ("3", "3", "9033"),
        ("4", "5", "9016"),
    ]

    rows[0]["province"], rows[1]["email"] = "NB", "fay@school.example"
    acme.upload("users.csv", *as_csv(rows))
    [_, second] = rosterd.wait_for_imports(2)

    assert (second["outcome"], second["created"], second["updated"], second["failed"]) == ("imported", 2, 0, 0)
    assert [user["email"] for user in rosterd.users().values()] == [
        f"{name}@school.example" for name in ("ann", "ben", "eve", "fay")
    ]
    assert len(rosterd.mails()) == 1


@pytest.mark.xdist_group("postgresql")
def test_failed_rows_come_back_from_a_server(
    acme: Visit, sshd: Sshd, tmp_path: Path, postgresql: PostgresqlServer
) -> None:
    """With the database on a server the client has the same: its users, a mail, and a CSV that can be corrected."""
    inboxes = {name: sshd.login(name).inbox for name in ("acme", "beta")}
    with Rosterd(tmp_path, inboxes, settings={"service": {"database": postgresql.new_database()}}) as rosterd:
        rosterd.start()
        acme.upload("users.csv", HEADER, ANN, EVE_NOWHERE, BEN)
        rosterd.wait_for_event("file.archived")
        mailed = failed_csv_of(rosterd)
        assert mailed == rosterd.read_bak("users.failed.csv")
        rows = list(csv.DictReader(io.StringIO(mailed.decode("utf-8-sig"))))
        assert [("3", "3", "9033")] == [(row["unique_id"], row["import_line"], row["import_code"]) for row in rows]
        rows[0]["province"] = "NB"
        acme.upload("users.csv", *as_csv(rows))
        rosterd.wait_for_event("file.imported", outcome="imported")
        listed = json.loads(rosterd.execute("imports", "--json").stdout)
        assert [(1, 0), (2, 1)] == [(each["created"], each["failed"]) for each in listed]
        assert rosterd.inbox() == []


def failed_csv_of(rosterd: Rosterd) -> bytes:
    """Return the CSV attached to the one mail there is, which must be addressed as configured."""
    rosterd.wait_for_event("mail.sent")
    [mail] = rosterd.mails()
    assert (mail["From"], mail["To"]) == (f"User import <{REPLY_TO}>", "admin@acme.example")
    [attached] = [part for part in mail.iter_attachments() if str(part.get_filename()).endswith(".failed.csv")]
    content = attached.get_payload(decode=True)
    assert isinstance(content, bytes)
    return content


def as_csv(rows: list[dict[str, str]]) -> list[str]:
    """Return the lines that a spreadsheet would save."""
    text = io.StringIO()
    writer = csv.DictWriter(text, rows[0].keys(), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().splitlines()


def test_unknown_header_refuses_the_file(acme: Visit, rosterd: Rosterd) -> None:
    """A file with an unknown column is archived with no row applied, and the mail names it and the nearest name."""
    acme.upload("users.csv", HEADER.replace("first_name", "frist_name"), ANN)
    [row] = rosterd.wait_for_imports(1)
    rosterd.wait_for_event("mail.sent")

    assert row["outcome"] == "refused"
    assert rosterd.users() == {}
    assert rosterd.archived() == ["users.csv", "users.result.txt"]
    [mail] = rosterd.mails()
    body = mail.get_body(("plain",))
    assert body is not None
    for text in (body.get_content(), rosterd.read_bak("users.result.txt").decode()):
        assert "frist_name" in text
        assert "first_name" in text


def test_clients_are_apart(acme: Visit, sshd: Sshd, tmp_path: Path, rosterd: Rosterd) -> None:
    """Two clients may use the same ids and file names; users, archives and mails stay apart."""
    beta = Visit(sshd, sshd.login("beta"), tmp_path)

    acme.upload("users.csv", HEADER, ANN, FAY_WITHOUT_EMAIL)
    beta.upload("users.csv", HEADER, ANN.replace("Ann", "Bob"))
    rosterd.wait_for_imports(2)
    rosterd.wait_for_event("mail.sent")

    assert rosterd.users("acme")["1"]["first_name"] == "Ann"
    assert rosterd.users("beta")["1"]["first_name"] == "Bob"
    assert rosterd.archived("acme") == ["users.csv", "users.failed.csv", "users.result.txt"]
    assert rosterd.archived("beta") == ["users.csv", "users.result.txt"]
    assert [mail["To"] for mail in rosterd.mails()] == ["admin@acme.example"]


def test_log_tells_the_story(acme: Visit, rosterd: Rosterd) -> None:
    """One claim id runs through all that happens to a file, and no cell value of a user is ever logged."""
    acme.upload("users.csv", HEADER, ANN, FAY_WITHOUT_EMAIL)
    rosterd.wait_for_event("file.archived", client="acme", file="users.csv")

    [claimed] = rosterd.events("file.claimed")
    [imported] = rosterd.events("file.imported")
    [archived] = rosterd.events("file.archived")
    assert claimed["claim_id"] == imported["claim_id"] == archived["claim_id"]
    assert (imported["created"], imported["failed"]) == (1, 1)
    rosterd.stop()
    for value in ("Ann", "ann@school.example", "Fay"):
        assert value not in rosterd.log()
