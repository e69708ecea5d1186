"""Changes of a client's table in a file of settings: what is asked for changes, and nothing else."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from operate.provision.edits import Place, edited, editing
from operate.provision.steps import Step

TEXT = """\
# of the first year
[[client]]
name = "acme"  # the customer
inbox = "/srv/sftp/acme/upload"

# people
failed_import_email = ["it@acme.example"]  # Zoe
receipts = true

# of [guard]
[client.guard]
created = "5 %"  # few

# feeds
[[client.feed]]
name = "students"
files = "s*"  # all of them

# the second one
[[client]]
name = "beta"
inbox = '/srv/sftp/beta/upload'
columns = { "Student ID" = "unique_id" }
# the end
"""
INLINE = 'client = [{name = "acme", inbox = "x", feed = [{name = "students", files = "s*"}]}, {name = "beta"}]  # one\n'
TEXTS = st.text(max_size=12).filter(lambda text: not {"\ud800"} & {*text} and text.isprintable())
VALUES: st.SearchStrategy[dict[Place, Any]] = st.dictionaries(
    st.one_of(
        st.tuples(st.sampled_from(["failed_import_email", "language"])),
        st.tuples(st.just("guard"), st.sampled_from(["created", "undone"])),
        st.tuples(st.sampled_from(["columns", "limits"]), TEXTS),
    ),
    st.one_of(st.booleans(), st.integers(0, 99), TEXTS, st.lists(TEXTS, max_size=3)),
    max_size=4,
)
FEEDS = st.dictionaries(
    st.tuples(st.just("feed"), st.sampled_from(["students", "staff"])),
    st.dictionaries(st.sampled_from(["files", "mode"]), TEXTS, min_size=1),
    max_size=2,
)
UNSET: st.SearchStrategy[list[Place]] = st.lists(
    st.sampled_from([("receipts",), ("guard", "created"), ("columns", "x"), ("feed", "students"), ("feed",)]),
    unique=True,
    max_size=3,
)


def table(text: str, name: str) -> dict[str, Any]:
    return next(each for each in tomllib.loads(text)["client"] if each["name"] == name)


@given(values=VALUES, feeds=FEEDS, unset=UNSET)
@pytest.mark.parametrize("text", [TEXT, INLINE], ids=["tables", "inline"])
def test_only_what_is_asked_for_changes(
    text: str, values: dict[Place, Any], feeds: dict[Place, Any], unset: list[Place]
) -> None:
    """Whatever is set and unset, the other client and the comments above it stay, in their order."""
    after = edited(text, "acme", values | feeds, [place for place in unset if place not in values | feeds])
    for place, value in values.items():
        inner = table(after, "acme")
        for key in place:
            inner = inner[key]
        assert value == inner
    assert table(text, "beta") == table(after, "beta")
    if text is TEXT:
        assert text[text.index("# the second one") :] == after[after.index("# the second one") :]
        assert after.startswith(text[: text.index("failed_import_email")])


def test_what_is_set_and_unset_again_is_as_before() -> None:
    """A new setting goes behind the others of its client, and leaves nothing."""
    after = edited(TEXT, "acme", {("expect_every",): "26h"})
    assert 'receipts = true\nexpect_every = "26h"\n' in after
    assert edited(after, "acme", {}, [("expect_every",)]) == TEXT


@pytest.mark.parametrize("place", [("guard", "created"), ("guard",)])
def test_comments_of_the_table_below_stay(place: Place) -> None:
    """The last key of a table goes with the table and the comment above it, and with nothing else."""
    guard = '\n# of [guard]\n[client.guard]\ncreated = "5 %"  # few\n'
    assert TEXT.replace(guard, "") == edited(TEXT, "acme", {}, [place])


def test_comments_of_the_next_feed_stay() -> None:
    """A feed goes, and what is said above the next one stays."""
    more = '\n# who teaches\n[[client.feed]]\nname = "staff"\nfiles = "t*"\n'
    text = TEXT.replace("\n# the second one", f"{more}\n# the second one")
    first = '\n# feeds\n[[client.feed]]\nname = "students"\nfiles = "s*"  # all of them\n'
    assert text.replace(first, "") == edited(text, "acme", {}, [("feed", "students")])


def written(folder: Path) -> tuple[Path, Step]:
    config_file = folder / "config.toml"
    config_file.write_text(TEXT)
    (folder / "clients.d").mkdir()
    return config_file, editing(config_file, config_file, "acme", {("receipts",): False})


def test_a_file_that_changes_meanwhile_is_not_overwritten(tmp_path: Path) -> None:
    """What somebody else writes between the look at a file and its change stays."""
    config_file, step = written(tmp_path)
    config_file.write_text(TEXT + "# more\n")
    with pytest.raises(OSError, match="changed meanwhile"):
        step.make()
    assert config_file.read_text() == TEXT + "# more\n"


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    """Where the file is a link, its target is changed, which keeps its mode."""
    _, step = written(tmp_path)
    target = tmp_path / "real" / "config.toml"
    target.parent.mkdir()
    (tmp_path / "config.toml").rename(target)
    target.chmod(0o640)
    (tmp_path / "config.toml").symlink_to(target)
    step.make()
    assert (tmp_path / "config.toml").is_symlink()
    assert (0o640, False) == (target.stat().st_mode & 0o777, table(target.read_text(), "acme")["receipts"])
