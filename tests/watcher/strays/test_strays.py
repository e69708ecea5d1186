"""Names that no rule takes, in the whole service: found, told once, never opened or moved."""

from __future__ import annotations

import os
import re
import tempfile
from pathlib import Path

from tests.conftest import Needs
from tests.lab import wait_until
from tests.lab.daemon import Rosterd

HEADER = "unique_id,login_source,first_name,last_name,email\n"
ANN = "1,OPSCOM,Ann,Lee,ann@school.example\n"
SERVICE, CLIENT = 61_001, 61_002  # nobody's
SETTINGS = {"service": {"sweep_interval_s": 0.3}, "intake": {"quiet_s": 0.3, "stray_grace_s": 1.0}}


def subjects(rosterd: Rosterd) -> list[str]:
    """Return the subjects of the mails to clients about strays."""
    return [str(mail["Subject"]) for mail in rosterd.mails() if "strays." in str(mail["Message-ID"])]


def test_a_name_is_answered(tmp_path: Path, folders: dict[str, Path]) -> None:
    """Log, status, metrics and one mail, also if the service is killed; a rename leads to the import."""
    acme = folders["acme"]
    settings = {"failed_import_email": ["it@acme.example"]}
    with Rosterd(tmp_path, folders, settings=SETTINGS, client_settings=settings) as rosterd:
        (acme / "exports").mkdir()
        (acme / "exports" / "users.csv").write_text(HEADER + ANN)
        rosterd.drop("users.csv.txt", HEADER + ANN)
        opened = os.stat(acme / "users.csv.txt")
        rosterd.start()
        rosterd.wait_for_event("file.ignored", client="acme", file="users.csv.txt", reason="unknown name")
        rosterd.wait_for_event("file.ignored", client="acme", file="exports/users.csv", reason="in a folder")
        wait_until(lambda: subjects(rosterd), "the mail")
        assert ["2 of your files were not imported"] == subjects(rosterd)
        wait_until(lambda: re.search(r"users\.csv\.txt +stray ", rosterd.execute("status").stdout), "the status")
        status = rosterd.execute("status")
        assert "acme: 2 files are not imported because of name or folder: " in status.stdout
        assert 'rosterd_files_waiting{client="acme",state="stray"} 2.0' in rosterd.execute("metrics").stdout

        rosterd.kill9()
        rosterd.start()
        (acme / "users.csv.txt").rename(acme / "users.csv")
        rosterd.wait_for_imports(1)
        gone = "SELECT 1 FROM strays WHERE CAST(path AS TEXT) = ? AND gone_at IS NOT NULL"
        wait_until(lambda: rosterd.query(gone, "users.csv.txt"), "a sweep that misses it")
        assert 1 == len(subjects(rosterd))
        assert 2 == len(rosterd.events("file.ignored"))
        assert opened.st_size == (acme / "exports" / "users.csv").stat().st_size
        assert ["exports"] == rosterd.inbox()


def test_files_of_the_operator_are_none(needs: Needs) -> None:
    """What root has put into an inbox, such as a README, is not told to the client; what the client has, is."""
    needs("setpriv", root=True)
    with tempfile.TemporaryDirectory(dir="/dev/shm") as place:
        folder, inbox = Path(place), Path(place, "acme")
        folder.chmod(0o755)
        inbox.mkdir()
        os.chown(inbox, SERVICE, CLIENT)
        inbox.chmod(0o1770)
        for name, owner in (("README", 0), ("note.txt", SERVICE), ("users.txt", CLIENT), ("others.txt", CLIENT + 1)):
            (inbox / name).touch()
            os.chown(inbox / name, owner, owner)
        with Rosterd(folder, {"acme": inbox}, settings=SETTINGS, service_uid=SERVICE) as rosterd:
            assert 0 == rosterd.execute("sweep").returncode
            assert [{"name": "users.txt"}] == rosterd.query("SELECT CAST(path AS TEXT) AS name FROM strays")
