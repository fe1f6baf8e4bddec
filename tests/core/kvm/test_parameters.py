"""What KVM's module parameters and releases mean for a config, as the source of each release has it."""

from __future__ import annotations

import pytest

from core.kvm.errors import SelftestError
from core.kvm.parameters import meant_fields, needed_parameters, parse_switch
from core.kvm.releases import Release, generation, parse_release


@pytest.mark.parametrize(
    ("text", "release", "behaves_as"),
    [
        ("5.10", (5, 10), "6.1"),
        ("5.15.0-91-generic", (5, 15), "6.1"),
        ("5.14.0-427.el9.x86_64", (5, 14), "6.1"),
        ("6.1.0-18-amd64", (6, 1), "6.1"),
        ("6.2.0", (6, 2), "6.12"),
        ("6.6.14", (6, 6), "6.12"),
        ("6.12.107+deb12-amd64", (6, 12), "6.12"),
        ("6.13-rc1", (6, 13), "7.3"),
        ("v7.0.0", (7, 0), "7.3"),
        ("7.3", (7, 3), "7.3"),
    ],
)
def test_releases_behave_as_a_generation(text: str, release: tuple[int, int], behaves_as: str) -> None:
    assert parse_release(text) == release
    assert generation(parse_release(text)) == behaves_as


@pytest.mark.parametrize("text", ["4.19.0", "5.4.0-100-generic", "six", "6", "6.", "", "6.1 amd64"])
def test_what_is_no_release_from_5_10_on_is_refused(text: str) -> None:
    with pytest.raises(SelftestError, match=r"^kernel: "):
        parse_release(text)


@pytest.mark.parametrize(
    ("parameters", "release", "fields"),
    [
        ({}, None, {}),
        ({"tdp_mmu": True}, None, {"mmu": "tdp"}),
        ({"tdp_mmu": False}, None, {"mmu": "legacy_tdp", "split": "lazy"}),
        ({"tdp_mmu": False, "eager_page_split": True}, None, {"mmu": "legacy_tdp", "split": "lazy"}),
        ({"ept": False, "tdp_mmu": True}, None, {"mmu": "shadow", "split": "lazy"}),
        ({"npt": False}, None, {"mmu": "shadow", "split": "lazy", "pml": False}),
        ({"npt": True}, None, {"pml": False}),
        ({"eager_page_split": False}, None, {"split": "fault"}),
        ({"eager_page_split": False}, (6, 2), {"split": "fault"}),
        ({"eager_page_split": False}, (6, 1), {"split": "lazy"}),
        ({"eager_page_split": True}, (6, 1), {}),
        ({"tdp_mmu": True}, (5, 17), {"mmu": "tdp", "split": "lazy"}),
        ({"pml": False}, None, {"pml": False}),
        ({"eptad": False}, None, {"pml": False}),
    ],
)
def test_parameters_mean_fields(
    parameters: dict[str, bool], release: tuple[int, int] | None, fields: dict[str, object]
) -> None:
    assert meant_fields(parameters, {}, Release(*release) if release else None) == fields


def test_fields_that_are_stated_are_left_alone() -> None:
    parameters = {"tdp_mmu": False, "eager_page_split": False}
    assert meant_fields(parameters, {"mmu": "tdp", "split": "eager"}, None) == {}


@pytest.mark.parametrize(("tdp_mmu", "split"), [(True, {}), (False, {"split": "lazy"})])
def test_a_nested_guest_is_split_eagerly_under_the_tdp_mmu_only(tdp_mmu: bool, split: dict[str, object]) -> None:
    assert meant_fields({"tdp_mmu": tdp_mmu}, {"mmu": "nested"}, None) == split


@pytest.mark.parametrize("mmu", ["tdp", "legacy_tdp", "shadow"])
@pytest.mark.parametrize("intel", [True, False])
def test_the_parameters_that_a_config_needs_mean_its_fields(mmu: str, intel: bool) -> None:
    split = "fault" if mmu == "tdp" else "lazy"
    meant = meant_fields(needed_parameters(mmu, split, intel, intel=intel), {}, None)
    assert meant == {"mmu": mmu, "split": split} | ({} if intel else {"pml": False})


@pytest.mark.parametrize(
    ("text", "value"),
    [("Y", True), ("1", True), ("on\n", True), ("n", False), ("0", False), ("$eager", None), ("", None)],
)
def test_switches_read_as_the_kernel_reads_them(text: str, value: bool | None) -> None:
    assert parse_switch(text) is value
