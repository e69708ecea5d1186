# noqa: INP001 - a script next to its output, not a package
"""
Make the pictures of docs/console.md anew, with Debian's Chromium: `python -m docs.screenshots`, as root.

Of a made-up installation of four clients, with a month of files. It is below a /srv of its own, in a mount namespace:
the pictures show its paths.
"""

from __future__ import annotations

import base64
import subprocess
import sys
from pathlib import Path
from typing import Final

from tests.lab import wait_until
from tests.lab.chromium import Chromium
from tests.lab.console import Console, let_in
from tests.lab.daemon import Rosterd, Setting

HERE: Final = Path(__file__).parent
SRV: Final = Path("/srv")
INSIDE: Final = "inside"
CLIENTS: Final = ("lakeside", "ottawa", "riverdale", "stjohns")
FILES: Final = 104  # those of the month, and one of each client
HEADER: Final = "unique_id,login_source,first_name,last_name,email\n"
FIRST: Final = ("Emma", "Liam", "Olivia", "Noah", "Zoé", "Maël", "Siobhán", "Wei", "Aisha", "Mateo", "Priya", "Ivan")
LAST: Final = ("Tremblay", "Smith", "O'Brien", "Chen", "Haddad", "Roy", "Singh", "Kowalski", "Nguyen", "Côté")
SETTINGS: Final[dict[str, dict[str, Setting]]] = {
    "console": {"listen": "127.0.0.1:0"},
    "guard": {"identity": "10 %", "attribute": "off"},
}
# Three or four files a day from the clients in turn; some have bad rows, some are refused.
MONTH: Final = """
INSERT INTO imports (claim_id, client, file, sha256, size_bytes, device, inode, mtime_ns, outcome, code, created,
                     updated, unchanged, failed, repeated, ends_line, archive, claimed_at, finished_at, archived_at)
WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < 100)
SELECT 'month-' || n, json_extract('["lakeside","ottawa","riverdale","stjohns"]', '$[' || (n % 4) || ']'), 'users.csv',
       printf('%064x', n), 4000 + n, 1, n, n,
       CASE WHEN n % 23 = 0 THEN 'refused' WHEN n % 7 = 0 THEN 'partly' ELSE 'imported' END,
       iif(n % 23, '', 'header.missing'), n % 3, n % 11, 80 + n * 13 % 70, iif(n % 7, 0, 9), 0, 1, CAST('' AS BLOB),
       at, at, at
FROM (SELECT n, strftime('%Y-%m-%dT%H:%M:%SZ', 'now', printf('-%d hours', (101 - n) * 7)) AS at FROM numbers)"""
# Name, page, width, height, light or dark.
PICTURES: Final = (
    ("overview", "/", 900, 760, "light"),
    ("dark", "/", 900, 420, "dark"),
    ("phone", "/", 360, 640, "light"),
    ("imports", "/imports", 900, 560, "light"),
    ("clients", "/clients", 900, 420, "light"),
    ("client", "/clients/riverdale", 900, 760, "light"),
    ("people", "/people?q=S-100", 900, 480, "light"),
    ("mail", "/mail", 900, 260, "light"),
)


def users(count: int, bad: int, shift: int = 0) -> str:
    """Return a file of users, and rows whose address is none; with another shift each is somebody else."""
    lines = [HEADER]
    for n in range(count):
        first, last = FIRST[(n + shift) % len(FIRST)], LAST[(n * 7 + shift) % len(LAST)]
        lines.append(f"S-{1000 + n},OPSCOM,{first},{last},s{1000 + n + shift}@board.example\n")
    lines += [f"S-{9000 + n},OPSCOM,{FIRST[n]},{LAST[n]},{FIRST[n].lower()} at board.example\n" for n in range(bad)]
    return "".join(lines)


def shoot(chromium: Chromium, name: str, size: tuple[int, int], scheme: str = "light") -> None:
    """Write what the window shows as a picture."""
    chromium.look(size[0], scheme)
    chromium.emulate("Emulation.setScrollbarsHidden", hidden=True)
    metrics = {"width": size[0], "height": size[1], "deviceScaleFactor": 1, "mobile": False}
    chromium.emulate("Emulation.setDeviceMetricsOverride", **metrics)
    picture = chromium.driver.execute_cdp_cmd("Page.captureScreenshot", {"format": "png"})
    (HERE / f"console-{name}.png").write_bytes(base64.b64decode(picture["data"]))


def main() -> None:
    """Make the installation, look at its pages, decide on the file on hold, and look at a person whom it changed."""
    inboxes = {client: SRV / "sftp" / client / "upload" for client in CLIENTS}
    for inbox in inboxes.values():
        inbox.mkdir(parents=True)
    with Rosterd(SRV, inboxes, settings=SETTINGS) as installation:
        let_in(SRV / "state", "olga")
        installation.execute("sweep")
        installation.change(MONTH)
        installation.drop("header.csv", "Name,Mail\nx,y\n", "stjohns")
        for client, bad in (("lakeside", 0), ("ottawa", 0), ("riverdale", 5)):
            installation.drop("students.csv", users(90, bad), client)
        installation.start()
        wait_until(lambda: len(installation.imports()) >= FILES and not installation.in_work(), "the files")
        installation.drop("students.csv", users(90, 0, shift=1), "ottawa")
        installation.wait_for_event("hold.placed")
        with (
            Console(installation.config, SRV / "log") as console,
            Chromium(SRV, f"http://127.0.0.1:{console.port}") as chromium,
        ):
            _look(installation, chromium)


def _look(installation: Rosterd, chromium: Chromium) -> None:
    chromium.open("/login")
    shoot(chromium, "login", (900, 420))
    chromium.log_in("olga")
    for name, path, width, height, scheme in PICTURES:
        chromium.open(path)
        shoot(chromium, name, (width, height), scheme)
    chromium.open("/imports?client=riverdale")
    chromium.find('main table a[href^="/imports/"]').click()
    shoot(chromium, "import", (900, 760))
    chromium.open("/on-hold")
    shoot(chromium, "on-hold", (900, 320))
    chromium.find('main a[href^="/on-hold/"]').click()
    shoot(chromium, "held", (900, 1250))
    chromium.press("Approve")
    wait_until(lambda: installation.users("ottawa")["S-1003"]["email"] == "s1004@board.example", "the import")
    chromium.open("/person?client=ottawa&id=S-1003")
    shoot(chromium, "person", (900, 820))


if __name__ == "__main__":
    if sys.argv[1:] == [INSIDE]:
        main()
    else:
        within = [
            "unshare",
            "--mount",
            "--propagation",
            "private",
            "sh",
            "-c",
            'mount -t tmpfs tmpfs /srv && exec "$@"',
        ]
        subprocess.run([*within, "sh", sys.executable, "-m", "docs.screenshots", INSIDE], check=True)  # noqa: S603
