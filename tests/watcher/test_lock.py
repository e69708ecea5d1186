from __future__ import annotations

from pathlib import Path

import pytest

from watcher.lock import RunningAlready, is_locked, locked


def test_one_holder_at_a_time(tmp_path: Path) -> None:
    """While the lock is held nobody else gets it, and afterwards anybody does."""
    with locked(str(tmp_path / "state")):
        assert is_locked(str(tmp_path / "state"))
        with pytest.raises(RunningAlready), locked(str(tmp_path / "state")):
            raise AssertionError
    assert not is_locked(str(tmp_path / "state"))
    with locked(str(tmp_path / "state")):
        pass


def test_asking_leaves_nothing(tmp_path: Path) -> None:
    """Whoever asks whether the lock is held makes neither folder nor file."""
    assert not is_locked(str(tmp_path / "state"))
    assert [] == list(tmp_path.iterdir())


def test_a_link_in_place_of_the_lock(tmp_path: Path) -> None:
    """A link is not followed to a file that is made elsewhere."""
    (tmp_path / "lock").symlink_to(tmp_path / "made")
    with pytest.raises(OSError, match="symbolic links"), locked(str(tmp_path)):
        raise AssertionError
    assert not (tmp_path / "made").exists()
