"""Where compiled code is kept: a folder that is this user's alone."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from core.compiled.cache import cache_folder
from core.errors import CacheError


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's cache folder; temporary files are elsewhere in `tmp_path`."""
    (tmp_path / "temporary").mkdir()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    return tmp_path / "home"


def test_the_folder_is_made_for_this_user_alone(home: Path) -> None:
    folder = cache_folder()
    assert folder.parent == home / "splitsweep"
    assert folder.parent.stat().st_mode & 0o777 == 0o700


def test_a_folder_that_others_can_write_is_not_used(home: Path) -> None:
    (home / "splitsweep").mkdir(parents=True)
    (home / "splitsweep").chmod(0o777)
    assert cache_folder().parent == home.parent / "temporary" / f"splitsweep-{os.getuid()}"


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a folder to somebody else")
def test_a_folder_of_somebody_else_is_not_used(home: Path) -> None:
    (home / "splitsweep").mkdir(parents=True)
    os.chown(home / "splitsweep", 4711, 4711)
    assert cache_folder().parent == home.parent / "temporary" / f"splitsweep-{os.getuid()}"


def test_a_link_to_another_folder_is_not_used(home: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    home.mkdir()
    (home / "splitsweep").symlink_to(tmp_path / "elsewhere")
    assert cache_folder().parent == home.parent / "temporary" / f"splitsweep-{os.getuid()}"


def test_without_a_folder_of_its_own_nothing_is_kept(home: Path) -> None:
    for folder in (home / "splitsweep", home.parent / "temporary" / f"splitsweep-{os.getuid()}"):
        folder.mkdir(parents=True)
        folder.chmod(0o777)
    with pytest.raises(CacheError, match=r"^compiled code cannot be kept in .*set XDG_CACHE_HOME") as error:
        cache_folder()
    assert "\n" not in str(error.value)
