"""Whether a file looks cut off, and what becomes of it when it does."""

from __future__ import annotations

import msgspec
import pytest

from importer.model import HoldReason, message
from importer.settings import FileSettings
from tests.engine import HEADER, Engine, table
from tests.reading import CLIENT, ROW, ending


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("unique_id,city\n1,Hull\n", HoldReason.NONE),
        ("unique_id,city\r1,Hull\r", HoldReason.NONE),
        ("unique_id,city\n1,Hull", HoldReason.UNTERMINATED),
        ('unique_id,city\n1,"Hull"', HoldReason.UNTERMINATED),
        ('unique_id,city\n1,"Hu\nll"', HoldReason.UNTERMINATED),
        ("unique_id,city", HoldReason.UNTERMINATED),
        ("unique_id,city,\n1,Hull", HoldReason.UNTERMINATED),
        ("unique_id,city\n1,Hull\n2", HoldReason.CUT_OFF),
        ('unique_id,city\n"1\n\n', HoldReason.OPEN_QUOTE),
        ('unique_id,city\n1,"Hull', HoldReason.OPEN_QUOTE),
        ('unique_id,city\n1,"Hull\n2,Ottawa\n', HoldReason.OPEN_QUOTE),
        ('"unique_id,city\n1,Hull\n', HoldReason.OPEN_QUOTE),
        ('unique_id,5" pipe,"ci', HoldReason.OPEN_QUOTE),
        ('"sep=;\nunique_id;city\n1;Hull\n', HoldReason.NONE),
        ('unique_id,city\n1,"Hull" \n2,"Ottawa\n', HoldReason.NONE),
        ("unique_id,city\n1,5'10\"\n", HoldReason.NONE),
        ("unique_id,city\n1,5'10\"", HoldReason.UNTERMINATED),
        ('unique_id,city\n1,5" pipe\n2,"Hu', HoldReason.OPEN_QUOTE),
        ('unique_id,city\n1,Hull\n2,5" pi', HoldReason.UNTERMINATED),
        ('unique_id,city,street\n1,Hull,X\n2,5" pi', HoldReason.CUT_OFF),
        ('\nunique_id,city\n1,Ann 5"', HoldReason.UNTERMINATED),
        ("unique_id,city\n" + "1,Hull\n" * 200_000 + '2,5" pipe', HoldReason.UNTERMINATED),
        ("unique_id,city\n1,Hull\n ", HoldReason.UNTERMINATED),
        ("unique_id,city,street\n1,Hull,\n,,", HoldReason.UNTERMINATED),
        ("", HoldReason.EMPTY),
        (" \r\n", HoldReason.EMPTY),
        ("no,such,names\n1", HoldReason.NONE),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_completeness(text: str, expected: HoldReason, encoding: str) -> None:
    """From its end and its quotes a file is told to be whole, without its last line end, cut off, open, or empty."""
    assert expected is ending(text.encode(encoding))


@pytest.mark.parametrize("header", ["unique_id,login_sou", "uniq", "unique_id,login_source,email,emai"])
def test_a_header_that_does_not_end_may_be_cut_off(header: str) -> None:
    """A header that is refused, and is all there is, may go on in its last name: it is waited for, unless it ends."""
    client = msgspec.structs.replace(CLIENT, unknown_columns="refuse")
    assert HoldReason.UNTERMINATED is ending(header.encode(), client)
    assert HoldReason.NONE is ending(f"{header}\n".encode(), client)


def test_a_short_last_row_is_whole_where_short_rows_are_taken() -> None:
    """A client whose rows may lack cells at the end cannot be told to be cut off by them."""
    client = msgspec.structs.replace(CLIENT, short_rows="pad")
    assert HoldReason.UNTERMINATED is ending(b"unique_id,city\n1,Hull\n2", client)


@pytest.mark.parametrize(
    ("limits", "text"),
    [
        (FileSettings(max_columns=400), "unique_id" + "".join(f",c{n}" for n in range(350)) + "\n1" + 300 * ",x"),
        (FileSettings(max_line_bytes=3 << 20), "unique_id,city\n1," + "x" * (2 << 20) + "\n2"),
        (FileSettings(max_cell_chars=1 << 18), 'unique_id,city\n1,"' + "x\n" * (1 << 16) + '"\n2'),
    ],
    ids=["columns", "line", "cell"],
)
def test_a_file_within_wider_limits_may_be_cut_off_like_any_other(limits: FileSettings, text: str) -> None:
    """Where more is let in than by default, the end of such a file is looked at as well."""
    assert HoldReason.CUT_OFF is ending(text.encode(), limits=limits)


def test_a_file_in_the_fallback_encoding_may_be_cut_off_like_any_other() -> None:
    """Where another encoding than UTF-8 is taken, the end of such a file is looked at as well."""
    client = msgspec.structs.replace(CLIENT, fallback_encoding="cp1252")
    assert HoldReason.CUT_OFF is ending("unique_id,city\n1,Qu\xe9bec\n2".encode("cp1252"), client)
    assert HoldReason.OPEN_QUOTE is ending('unique_id,city\n1,"Qu\xe9'.encode("cp1252"), client)
    assert HoldReason.UNTERMINATED is ending("unique_id,city\n1,Qu\xe9bec".encode("cp1252"), client)
    assert HoldReason.NONE is ending("unique_id,city\n1,Qu\xe9bec\n2".encode("cp1252"))


@pytest.mark.parametrize("cut", range(1, 140))
def test_every_prefix_of_an_upload_is_told_from_the_whole(cut: int) -> None:
    """An upload cut anywhere is cut off, open or unterminated, unless the cut falls just behind a row."""
    whole = table(
        [["unique_id", "first_name", "city"], *([str(n), 'Zoé "Z"', "Hull,\r\nQC"] for n in range(5))]
    ).encode()
    ends = {len(whole) - len(whole.split(b'QC"\r\n', n)[-1]) for n in range(1, 6)} | {whole.index(b"\r\n") + 2}
    told = ending(whole[:-cut])
    behind_a_row = {end - back for end in ends for back in (0, 1)}
    assert (len(whole) - cut in behind_a_row) == (told is HoldReason.NONE)


def test_an_unterminated_last_row_that_is_short_is_incomplete(engine: Engine) -> None:
    """A file whose last line neither ends nor has all its fields was cut off: nothing of it is applied."""
    result = engine.upload(f"{HEADER}\n{ROW}\nS2,OPSCOM,Bo".encode())
    assert (message("upload.incomplete/row", line="3"),) == result.refusal
    assert {} == engine.users()


def test_an_unterminated_last_row_that_is_whole_is_imported_with_a_warning(engine: Engine) -> None:
    """A last line without its end but with all its fields is imported, and its line is named."""
    result = engine.upload(f"{HEADER}\n{ROW}".encode())
    assert (1, 2) == (result.tally.created, result.warnings["file.unterminated"].first_line)


def test_an_unterminated_last_cell_over_the_limit_is_told_by_the_limit(engine: Engine) -> None:
    """A last row that is too large to be looked at for its end is refused for what it is."""
    content = f"{HEADER}\nS1,OPSCOM,{'x' * 200_000}".encode()
    assert HoldReason.UNTERMINATED is ending(content)
    assert "limit.cell" == engine.upload(content).code


def test_completeness_reads_no_endless_line() -> None:
    """A line over the limit is left to the import, which names it."""
    assert HoldReason.NONE is ending(b"unique_id\n" + b"x" * 3_000_000)


def test_an_unterminated_file_is_mailed_only_when_it_is_news(engine: Engine) -> None:
    """Some exporters never end the last line: the warning is mailed only when the client's file before did end it."""
    mailed = [
        engine.upload(f"{HEADER}\n{ROW}{end}".encode()).mail is not None for end in ("", "", "\n", "", "", "\n", "\n")
    ]
    assert [False, False, False, True, False, False, False] == mailed
