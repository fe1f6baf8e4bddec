"""Cost profiles: complete, without strangers, and identified by their values."""

from __future__ import annotations

from pathlib import Path

import pytest

import core.costs.profile
from core.costs.profile import PARAMETERS, built_in_profiles, load_profile, profile_of
from core.errors import ProfileError

BUILT_IN = Path(core.costs.profile.__file__).parent / "profiles" / "cascade-lake-2022.toml"
VALUES = dict(load_profile("cascade-lake-2022").values)


def test_the_default_profile_comes_with_splitsweep_and_is_complete() -> None:
    assert "cascade-lake-2022" in built_in_profiles()
    assert set(VALUES) == set(PARAMETERS)


def test_a_profile_is_identified_by_its_values_and_not_by_its_name() -> None:
    assert profile_of("one", VALUES, "one").digest == profile_of("other", VALUES, "other").digest
    changed = VALUES | {"guest.read_ns": VALUES["guest.read_ns"] + 1}
    assert profile_of("one", changed, "one").digest != profile_of("one", VALUES, "one").digest


def test_a_file_of_ones_own_is_a_profile(tmp_path: Path) -> None:
    own = tmp_path / "own.toml"
    own.write_text(BUILT_IN.read_text())
    assert load_profile(str(own)).digest == load_profile("cascade-lake-2022").digest


def test_a_byte_order_mark_is_no_mistake(tmp_path: Path) -> None:
    path = tmp_path / "host.toml"
    path.write_bytes(b"\xef\xbb\xbf" + BUILT_IN.read_bytes())
    assert load_profile(str(path)).digest == load_profile("cascade-lake-2022").digest


def test_a_profile_without_its_fit_has_the_same_costs_and_no_uncertainty(tmp_path: Path) -> None:
    own = tmp_path / "own.toml"
    own.write_text(BUILT_IN.read_text().split("[fit]")[0])
    assert dict(load_profile(str(own)).values) == VALUES
    assert load_profile(str(own)).uncertainty is None
    assert load_profile(str(own)).digest != load_profile("cascade-lake-2022").digest


@pytest.mark.parametrize(
    ("fit", "message"),
    [
        ('parameters = ["guest.read_ns"]', "'covariance'"),
        ('parameters = ["guest.read_ns"]\ncovariance = [[1, 2]]\nscatter_pass = 1\nscatter_ioctl = 1', "belong"),
        ('parameters = ["read"]\ncovariance = [[1]]\nscatter_pass = 1\nscatter_ioctl = 1', "belong together"),
    ],
)
def test_a_broken_fit_is_named(fit: str, message: str, tmp_path: Path) -> None:
    own = tmp_path / "own.toml"
    own.write_text(BUILT_IN.read_text().split("[fit]")[0] + f"[fit]\n{fit}\n")
    with pytest.raises(ProfileError, match=r"own.toml: \[fit\]: .*calibrate") as error:
        load_profile(str(own))
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"guest.read_ms": 1.0}, "guest.read_ms: no such parameter"),
        ({"guest.read_ns": None}, "guest.read_ns is missing"),
        ({"machine.cores": 0}, "machine.cores: 0 is not allowed; allowed: 1 or more"),
        (
            {"machine.cores": 8, "machine.cpus": 4},
            "machine.cpus: 4 is not allowed; allowed: at least as many as machine.c",
        ),
        ({"machine.node_gib": 0}, "machine.node_gib: 0 is not allowed; allowed: more than 0"),
        ({"guest.read_ns": "8"}, "guest.read_ns: '8' is not a number from 0 to 1e12"),
        ({"guest.read_ns": -1.0}, "guest.read_ns: -1.0 is not a number from 0 to 1e12"),
        ({"guest.read_ns": float("nan")}, "guest.read_ns: nan is not a number from 0 to 1e12"),
    ],
)
def test_a_profile_with_a_mistake_names_file_and_parameter(change: dict[str, object], message: str) -> None:
    with pytest.raises(ProfileError, match="profile mine\\.toml: ") as error:
        profile_of("mine", VALUES | change, "mine.toml")
    assert message in str(error.value)


def test_what_is_no_text_is_no_profile(tmp_path: Path) -> None:
    (tmp_path / "binary.toml").write_bytes(b"\x7fELF\xff")
    (tmp_path / "folder.toml").mkdir()
    with pytest.raises(ProfileError, match=r"binary\.toml: not a text file; a profile is TOML in UTF-8"):
        load_profile(str(tmp_path / "binary.toml"))
    with pytest.raises(ProfileError, match=r"folder\.toml: is a directory"):
        load_profile(str(tmp_path / "folder.toml"))


def test_an_unknown_profile_names_those_there_are() -> None:
    with pytest.raises(ProfileError, match=r"no profile 'skylake'; allowed: cascade-lake-2022, skylake-2021"):
        load_profile("skylake")
