from __future__ import annotations

import hashlib
from io import BytesIO
from pathlib import Path

import msgspec
import pytest

from importer.model import HoldReason
from importer.settings import ClientSettings, FileSettings
from importer.wording.catalogue import words
from watcher.inbox.holds import hold_reason_of, is_failed_csv, refusal

HEADER = b"unique_id,login_source,first_name,last_name,email\n"
ANN = b"1,OPSCOM,Ann,Lee,ann@school.example\n"
ACME = ClientSettings(name="acme", inbox="upload")


def judged(
    folder: Path,
    content: bytes,
    client: ClientSettings = ACME,
    *,
    sidecar: bytes | None = None,
    is_broken_off: bool = False,
) -> HoldReason:
    (folder / "users.csv").write_bytes(content)
    with (folder / "users.csv").open("rb") as raw:
        limits = FileSettings()
        return hold_reason_of(raw, client, limits, sidecar=sidecar, is_broken_off=is_broken_off)


def with_companion(kind: str) -> ClientSettings:
    return msgspec.convert({"name": "acme", "inbox": "upload", "companion": kind}, ClientSettings)


@pytest.mark.parametrize(
    ("content", "hold_reason"),
    [
        (HEADER + ANN, HoldReason.NONE),
        (HEADER + ANN[:-1], HoldReason.UNTERMINATED),
        (HEADER + ANN[:9], HoldReason.CUT_OFF),
        (HEADER + b'1,OPSCOM,"Ann,\n', HoldReason.OPEN_QUOTE),
        (b"", HoldReason.EMPTY),
    ],
)
def test_the_end_of_a_file_tells(tmp_path: Path, content: bytes, hold_reason: HoldReason) -> None:
    """Without a companion the end of the file says whether it may be cut off."""
    assert judged(tmp_path, content) is hold_reason


def test_broken_connection_outweighs_a_good_end(tmp_path: Path) -> None:
    """A file that ends well is doubted all the same when its connection broke."""
    assert judged(tmp_path, HEADER + ANN, is_broken_off=True) is HoldReason.BROKEN_OFF


@pytest.mark.parametrize("kind", ["sha256", "md5"])
@pytest.mark.parametrize(
    "written",
    [
        "{digest}",
        "{digest}  users.csv\n",
        "{digest} *users.csv\r\n",
        "SHA (users.csv) = {digest}\n",
        "{other}  other.csv\n{digest}  users.csv\n",
    ],
)
def test_companion_with_the_digest(tmp_path: Path, kind: str, written: str) -> None:
    """A digest in any of the usual spellings vouches for the file, however its end looks."""
    content = HEADER + ANN[:9]
    said = written.format(digest=hashlib.new(kind, content).hexdigest(), other=hashlib.new(kind, b"").hexdigest())

    for companion in (said.encode(), said.upper().encode(), b"\xff\xfe" + said.encode("utf-16-le")):
        assert judged(tmp_path, content, with_companion(kind), sidecar=companion) is HoldReason.NONE


@pytest.mark.parametrize("companion", [b"", b"no digest", hashlib.sha256(b"other").hexdigest().encode(), b"ab" * 31])
def test_companion_of_something_else(tmp_path: Path, companion: bytes) -> None:
    """A companion without the digest of the file speaks against it."""
    assert judged(tmp_path, HEADER + ANN, with_companion("sha256"), sidecar=companion) is HoldReason.MISMATCHED


def test_companion_that_only_has_to_be_there(tmp_path: Path) -> None:
    """With `done` nothing counts but that the companion is there."""
    assert judged(tmp_path, HEADER + ANN, with_companion("done"), sidecar=b"") is HoldReason.NONE
    assert judged(tmp_path, HEADER + ANN, with_companion("done")) is HoldReason.UNACCOMPANIED


@pytest.mark.parametrize(
    "above",
    [b"", b"sep=;\r\n", b"\n\nSEP=,\n", b"\xef\xbb\xbfsep=,\r", b"\xef\xbb\xbfColumn1,Column2,Column3\r\n"],
    ids=["", "sep", "blank", "BOM", "numbered"],
)
def test_corrected_rows_are_told_by_their_header(above: bytes) -> None:
    """The failed rows that come back corrected are told as such, whatever a spreadsheet has put above them."""
    header = above + HEADER.strip() + b",import_line,import_code,import_field,import_reason\n"
    assert is_failed_csv(BytesIO(header + ANN.strip() + b",1,2,3,4\n"))
    assert not is_failed_csv(BytesIO(HEADER + ANN.replace(b"Ann", b"import_line")))


@pytest.mark.parametrize("hold_reason", list(HoldReason))
def test_refusal_says_what_to_do(hold_reason: HoldReason) -> None:
    """Whatever a file is refused for, its client is told what to do."""
    text = words().explained(refusal(hold_reason, b"us\xffers.csv", with_companion("md5")))

    assert "pload" in text
    assert "{" not in text


def test_a_file_that_could_not_be_judged_is_not_said_to_be_cut_off() -> None:
    """A client whose file took too long to check reads that it may be whole, and how to make it shorter to check."""
    text = words().explained(refusal(HoldReason.UNREAD, b"users.csv", ACME))
    assert text.startswith("We could not check in time whether the file is complete")
    assert "split the file" in text
