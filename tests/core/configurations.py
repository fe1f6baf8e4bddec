"""Random configurations small enough to simulate by the hundred, for the property tests of the engines."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from core.config import Config, make_config
from core.errors import ConfigError
from core.sizes import PAGE_BYTES

MEBIBYTE = 2**20


@st.composite
def configurations(draw: st.DrawFn, **fixed: Any) -> Config:
    """A valid Config; `fixed` fields are given, the others drawn over everything the engine models."""
    backing = fixed.get("backing") or draw(st.sampled_from(["4K", "2M", "2M", "2M"]))
    vcpus = draw(st.integers(1, 4 if backing != "1G" else 2))
    mem_per_vcpu = {
        "4K": draw(st.integers(1, 24)) * 64 * PAGE_BYTES,
        "2M": draw(st.integers(1, 4)) * 2 * MEBIBYTE,
        "1G": 1024 * MEBIBYTE,
    }[backing]
    manual = draw(st.booleans())
    values: dict[str, Any] = {
        "vcpus": vcpus,
        "mem_per_vcpu": mem_per_vcpu,
        "backing": backing,
        "write_percent": draw(st.sampled_from([0, 1, 5, 20, 33, 50, 80, 100])),
        "write_pattern": draw(st.sampled_from(["stride", "random"])),
        "access_order": draw(st.sampled_from(["sequential", "random"])),
        "working_set": draw(st.sampled_from([100, 100, 30, 7])),
        "skew": draw(st.sampled_from([100, 90, 60])),
        "partitioned": draw(st.booleans()) if backing != "1G" else True,
        "mmu": draw(st.sampled_from(["tdp", "legacy_tdp", "shadow", "nested"])),
        "split": draw(st.sampled_from(["eager", "lazy", "fault"])),
        "pml": draw(st.booleans()),
        "manual_protect": manual,
        "initially_all_set": manual and draw(st.booleans()),
        "granularity": draw(st.sampled_from(["4K", "4K", "2M"])) if backing != "4K" else "4K",
        "guest_page": draw(st.sampled_from([None, "4K", "2M", "1G"])),
        "guest_roots": draw(st.sampled_from([1, 1, 2, 3])) if backing != "1G" else 1,
        "slots": draw(st.sampled_from([1, 1, vcpus])),
        "iterations": draw(st.integers(1, 3)) if backing != "1G" else 1,
        "populate_writes": draw(st.sampled_from(["all", "same"])),
        "kernel": draw(st.sampled_from(["6.1", "6.12", "7.3"])),
        "seed": draw(st.integers(1, 50)),
    } | fixed
    try:
        return make_config(values)
    except ConfigError as error:
        if error.field != "granularity":
            raise
        return make_config(values | {"granularity": "4K"})  # 2M tracking needs huge leaves
