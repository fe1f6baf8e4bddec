"""KVM's module parameters: what they mean for the fields of a config, and which ones a config needs.

A parameter that KVM of that release does not heed decides nothing: eager_page_split does nothing before 5.18, nor on
any MMU with an rmap while tdp_mmu=N, for upstream splits eagerly under the TDP MMU only. (The series that proposed to
split there is what `split = eager` on those MMUs stands for, so a patched kernel must be stated.)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from core.kvm.releases import EAGER_SPLITTING, SPLIT_AT_FAULT, Release

MODULES: Final[dict[str, str]] = {
    "tdp_mmu": "kvm",
    "eager_page_split": "kvm",
    "ept": "kvm_intel",
    "eptad": "kvm_intel",
    "pml": "kvm_intel",
    "npt": "kvm_amd",
}
"""The parameters that decide a field, each with the module it belongs to."""

DECIDES: Final[dict[str, str]] = {
    "tdp_mmu": "mmu",
    "ept": "mmu",
    "npt": "mmu",
    "eager_page_split": "split",
    "pml": "pml",
    "eptad": "pml",
}
"""The field that each of them decides."""

_TRUTH: Final = {
    **dict.fromkeys(("y", "1", "t", "on", "true"), True),
    **dict.fromkeys(("n", "0", "f", "off", "false"), False),
}


def parse_switch(text: str) -> bool | None:
    """What the kernel takes a text for that is written to a switch: Y, 1, on, N, 0, off; None if it takes it not."""
    return _TRUTH.get(text.strip().lower())


def meant_fields(
    parameters: Mapping[str, bool], stated: Mapping[str, object], release: Release | None
) -> dict[str, object]:
    """The fields that the parameters, and the release, decide beside those that are stated.

    Without a release the newest are meant, as in `Config`.
    """
    fields = _mmu(parameters) if "mmu" not in stated else {}
    mmu = fields.get("mmu", stated.get("mmu", "tdp"))
    if "pml" not in stated and _without_pml(parameters):
        fields["pml"] = False
    if "split" not in stated and (split := _split(parameters, mmu, release)):
        fields["split"] = split
    return fields


def needed_parameters(mmu: str, split: str, pml: bool, *, intel: bool) -> dict[str, bool]:
    """The parameters under which KVM of a host does what a config says."""
    two_dimensional = "ept" if intel else "npt"
    needed = {two_dimensional: mmu != "shadow"}
    if mmu != "shadow":
        needed["tdp_mmu"] = mmu != "legacy_tdp"
    if mmu in ("tdp", "nested"):
        needed["eager_page_split"] = split == "eager"
    if intel and mmu in ("tdp", "legacy_tdp"):
        needed["pml"] = pml
    return needed


def _mmu(parameters: Mapping[str, bool]) -> dict[str, object]:
    if parameters.get("ept") is False or parameters.get("npt") is False:
        return {"mmu": "shadow"}
    if "tdp_mmu" in parameters:
        return {"mmu": "tdp" if parameters["tdp_mmu"] else "legacy_tdp"}
    return {}


def _without_pml(parameters: Mapping[str, bool]) -> bool:
    """Whether the host cannot log pages: AMD has no PML, and Intel's needs D-bits."""
    return "npt" in parameters or not parameters.get("pml", True) or not parameters.get("eptad", True)


def _split(parameters: Mapping[str, bool], mmu: object, release: Release | None) -> str | None:
    """How huge pages are split, where that is not what `Config` takes for granted."""
    eager = parameters.get("eager_page_split", True)
    if mmu in ("legacy_tdp", "shadow"):
        return "lazy"
    if release is not None and release < EAGER_SPLITTING:
        eager = False
    if mmu == "nested":
        return None if eager and parameters.get("tdp_mmu", True) else "lazy"
    if eager:
        return None
    return "fault" if release is None or release >= SPLIT_AT_FAULT else "lazy"
