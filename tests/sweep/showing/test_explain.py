"""What `splitsweep explain` promises: the engine's own numbers, and words that the counts bear out."""

from __future__ import annotations

import io
import itertools

import pytest
from rich.console import Console

from core.config import Config, make_config
from core.costs.profile import load_profile
from core.errors import ConfigError
from core.identity import ENGINE_VERSION
from core.run import run_config
from sweep.commands.explain import explain
from sweep.errors import SpecError
from sweep.showing.explain import TIME_PARTS, WIDTH, closing_words, explanation, phase_words, print_explanation

SMALL = {"mem_per_vcpu": "64MiB", "backing": "2M", "iterations": 1, "initially_all_set": False}


def small(**values: object) -> Config:
    return make_config(SMALL | values)


def lines(config: Config) -> list[str]:
    return [line.text for line in explanation(config, run_config(config))]


def words(config: Config, phase: str) -> str:
    (row,) = (row for row in run_config(config) if row["phase"] == phase)
    return phase_words(config, row)


def block(found: list[str], phase: str) -> list[str]:
    """The lines of one phase."""
    start = next(number for number, line in enumerate(found) if line.startswith(f"{phase}: "))
    return found[start : found.index("", start)]


def test_every_phase_is_explained_in_order() -> None:
    found = lines(small())
    titles = [line.split(":")[0] for before, line in itertools.pairwise(found) if not before and " s (90%: " in line]
    assert titles == ["populate", "enable", "dirty 1", "get 1", "clear 1", "disable", "after_disable"]


def test_the_parts_of_a_phase_add_up_to_all_of_it() -> None:
    dirty = block(lines(small(mmu="shadow", split="lazy", vcpus=4)), "dirty 1")
    parts = [line for line in dirty if line[2:12].strip() in TIME_PARTS.values() and "%" in line]
    shares = [float(line.split("%")[0].split()[-1]) for line in parts]
    assert sum(shares) == pytest.approx(100, abs=0.3)


def test_the_first_line_is_the_config_as_it_is_typed() -> None:
    assert lines(small(vcpus=2))[0] == (
        "2 vCPUs x 64MiB: vcpus=2 mem_per_vcpu=64MiB backing=2M mmu=tdp initially_all_set=false iterations=1"
    )


def test_choices_without_effect_are_noted() -> None:
    assert any(line.startswith("note: split = eager does nothing here") for line in lines(small(backing="4K")))


def test_lazy_splitting_is_named_as_the_cause_of_its_faults() -> None:
    sentence = words(small(mmu="legacy_tdp", split="lazy", vcpus=2), "dirty")
    assert sentence.endswith(
        "33 thousand not-present faults, one per access, because lazy splitting dropped 64 2M pages."
    )


def test_eager_splitting_is_named_at_enable() -> None:
    assert words(small(mmu="legacy_tdp", split="eager", vcpus=2), "enable").endswith("it splits 64 2M pages.")


def test_pml_is_named_where_nothing_faults() -> None:
    sentence = words(small(split="eager"), "dirty")
    assert sentence.endswith("no access faults, and 16 thousand pages are logged by PML with 31 exits.")


def test_fast_page_fault_is_named_without_pml() -> None:
    assert "fixed by fast_page_fault without the lock" in words(small(split="eager", pml=False), "dirty")


def test_shadow_paging_is_named_as_the_cause_of_locked_fixes() -> None:
    sentence = words(small(mmu="shadow", split="eager", write_percent=20), "dirty")
    assert (
        "0.20 per access, because each first write to a protected page takes mmu_lock for write on shadow" in sentence
    )


def test_waiting_dominates_when_many_vcpus_fault_at_once() -> None:
    config = small(mmu="legacy_tdp", split="lazy", vcpus=64)
    (first, *_) = closing_words(config, run_config(config))
    assert first.startswith("dirty 1 (")
    assert "of vCPU time waits for mmu_lock" in first


def test_pages_reported_are_set_against_pages_written() -> None:
    found = block(lines(small(mmu="legacy_tdp", split="lazy", write_percent=20)), "get 1")
    (dirty,) = (line for line in found if line.startswith("  dirty"))
    assert dirty == "  dirty      pages reported: 16,321, written: 3,277 (4.98 reported for each written)"


def test_the_last_line_says_whose_numbers_they_are() -> None:
    digest = load_profile("cascade-lake-2022").digest[:8]
    assert lines(small())[-1] == (
        "simulated by splitsweep: 64MiB per vCPU, backing 2M, MMU of kernel 6.12, "
        f"profile cascade-lake-2022 ({digest}), engine version {ENGINE_VERSION}"
    )


def test_a_time_comes_with_its_interval() -> None:
    config = small(mmu="legacy_tdp", split="lazy", vcpus=4)
    (row,) = (row for row in run_config(config) if row["phase"] == "dirty")
    first, *_ = block(lines(config), "dirty 1")
    assert first == (f"dirty 1: {row['seconds']:.9f} s (90%: {row['seconds_lo']:.4g} to {row['seconds_hi']:.4g} s)")


def test_more_vcpus_than_the_host_of_the_profile_has_cpus_are_an_extrapolation() -> None:
    titles = [line for line in lines(small(vcpus=97)) if " s (90%: " in line]
    assert titles
    assert all(line.endswith("; extrapolated: beyond 96 CPUs)") for line in titles)
    assert not any("extrapolated" in line for line in lines(small(vcpus=96)))


def test_times_of_several_vcpus_are_called_a_sum() -> None:
    config = small(mmu="shadow", split="lazy", vcpus=4)
    (row,) = (row for row in run_config(config) if row["phase"] == "dirty")
    total = sum(row[name] for name in TIME_PARTS)
    assert f"  time of all 4 vCPUs added up, {total:.9f} s:" in block(lines(config), "dirty 1")
    assert not any("added up" in line for line in block(lines(config), "enable"))
    assert not any("added up" in line for line in lines(small(vcpus=1)))


def test_the_other_time_is_told_for_what_it_is() -> None:
    found = lines(small(vcpus=4))
    assert "  (other: outside mmu_lock: allocating the dirty bitmap, flushing TLBs)" in block(found, "enable")
    assert "  (other: from the start of the pass to each vCPU's own start)" in block(found, "dirty 1")


def test_stalls_without_a_tail_are_said_to_be_the_simulators() -> None:
    waiting = block(lines(small(mmu="shadow", split="eager", vcpus=16)), "dirty 1")
    assert any("in step, each waits as long as every other; on a host they spread" in line for line in waiting)
    alone = block(lines(small(split="eager", pml=False)), "dirty 1")
    assert any("a simulated event costs the same each time; on a host they spread" in line for line in alone)


def test_without_a_terminal_the_text_is_plain_and_no_wider_than_the_width() -> None:
    config = small(mmu="legacy_tdp", split="lazy", vcpus=4)
    file = io.StringIO()
    print_explanation(explanation(config, run_config(config)), Console(file=file, width=WIDTH))
    printed = file.getvalue()
    assert printed.isascii()
    assert "\x1b" not in printed
    assert max(map(len, printed.splitlines())) <= WIDTH


def test_the_command_prints_the_explanation(capsys: pytest.CaptureFixture[str]) -> None:
    explain(["mem_per_vcpu=64MiB", "backing=2M", "split=lazy", "initially_all_set=false"])
    assert "because lazy splitting dropped" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("vcpus", "'vcpus' is not FIELD=VALUE; write it like vcpus=64"),
        ("=64", "'=64' is not FIELD=VALUE; write it like vcpus=64"),
        ("vcpu=2", "vcpu: no such field"),
        ("split=late", "split: 'late' is not allowed; allowed: eager, lazy, fault"),
    ],
)
def test_a_word_that_is_no_field(word: str, message: str) -> None:
    with pytest.raises((ConfigError, SpecError)) as caught:
        explain([word])
    assert str(caught.value).startswith(message)


def test_a_field_given_twice() -> None:
    with pytest.raises(SpecError, match="vcpus: given twice"):
        explain(["vcpus=2", "vcpus=4"])
