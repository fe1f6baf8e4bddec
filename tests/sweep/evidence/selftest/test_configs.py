"""What a run was is known or asked for: nothing is guessed that the output and the words do not settle."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from core.config import Config, config_text, make_config
from sweep.evidence.measurements import MeasurementError
from sweep.evidence.selftest.configs import ConfiguredRun, configured_run
from sweep.evidence.selftest.said import read_words
from sweep.evidence.selftest.text import read_selftest_text
from tests.sweep.evidence.selftest.outputs import ONE, TWO

DATA = Path(__file__).parents[3] / "data"
OLD, NEW, LOOP = (DATA / f"dirty-log-perf-{name}.txt" for name in ("5.17", "6.12", "loop"))


def configured(text: str, *words: str) -> list[ConfiguredRun]:
    said = read_words(words, keeps_notes=False)
    written_at = datetime(2024, 1, 2, tzinfo=UTC)
    return [configured_run(run, said, "log", written_at) for run in read_selftest_text("log", text).runs]


def configs(text: str, *words: str) -> list[Config]:
    return [run.config for run in configured(text, *words)]


def texts(text: str, *words: str) -> list[str]:
    return [config_text(config) for config in configs(text, *words)]


def placed(start: int, size: int, text: str = ONE) -> str:
    """The output of a run with so much memory at this address."""
    return f"guest physical test memory: [{start:#x}, {start + size:#x})\n{text}"


def test_a_loop_leaves_the_configs_of_its_turns() -> None:
    assert texts(LOOP.read_text()) == ["vcpus=2 backing=1G mmu=tdp split=fault", "vcpus=2 backing=1G mmu=tdp"]


def test_what_nothing_says_is_the_default() -> None:
    assert configs(ONE) == [make_config({"iterations": 1})]


def test_words_hold_where_a_header_says_nothing() -> None:
    text = f"{ONE}# vcpus=8 split=lazy\n{TWO}# vcpus=16\n{ONE}"
    assert [(c.vcpus, c.split) for c in configs(text, "vcpus=2")] == [(2, "eager"), (8, "lazy"), (16, "lazy")]


def test_a_header_wins_over_the_command_line_of_the_test() -> None:
    (config,) = configs(f"# backing=4K\n./dirty_log_perf_test -s anonymous_thp\n{ONE}")
    assert config.backing == "4K"


# vcpus and memory


def test_the_size_of_the_memory_tells_what_is_not_stated() -> None:
    text = NEW.read_text()
    assert [(c.vcpus, c.mem_per_vcpu) for c in configs(text, "vcpus=2")] == [(2, 2**31)]
    assert [(c.vcpus, c.mem_per_vcpu) for c in configs(text, "mem_per_vcpu=1G")] == [(4, 2**30)]


def test_the_memory_of_all_vcpus_is_another_way_to_say_it() -> None:
    (config,) = configs(ONE, "vcpus=4", "mem_total=4GiB")
    assert (config.vcpus, config.mem_per_vcpu) == (4, 2**30)


def test_a_memory_that_nothing_divides_is_asked_about() -> None:
    with pytest.raises(MeasurementError) as caught:
        configs(placed(0x3FD7C0000000, 160 * 2**30))
    assert str(caught.value) == (
        "log:1: vcpus: the test memory is 160GiB, and nothing says how many vCPUs share it; "
        "say it in a word after the file, or in a line `# vcpus=64` before the run"
    )


def test_the_memory_of_the_tests_defaults_is_one_vcpu() -> None:
    assert [(c.vcpus, c.mem_per_vcpu) for c in configs(placed(0x3FFFBFFFF000, 2**30))] == [(1, 2**30)]


def test_a_loop_over_vcpus_is_told_apart_by_the_memory() -> None:
    command = "for v in 2 4; do ./dirty_log_perf_test -v $v -s anonymous_hugetlb_1gb; done\n"
    text = command + placed(0x3FFF40000000, 2 * 2**30) + placed(0x3FFEC0000000, 4 * 2**30)
    assert [(c.vcpus, c.mem_per_vcpu) for c in configs(text)] == [(2, 2**30), (4, 2**30)]


def test_a_command_line_without_b_means_1_gib_per_vcpu() -> None:
    with pytest.raises(MeasurementError, match="the test memory is 4GiB, which is not 2 x 1GiB"):
        configs("./dirty_log_perf_test -v 2\n" + placed(0x3FFEBFFFF000, 4 * 2**30))


# backing and the start of the memory


@pytest.mark.parametrize(
    ("start", "backing"),
    [(0x3FFF40000000, "1G"), (0x3FFF40200000, "2M"), (0x3FFF401FF000, "4K"), (0x3FFF40001000, "4K")],
)
def test_a_backing_is_at_most_what_the_start_is_aligned_to(start: int, backing: str) -> None:
    (run,) = configured("# backing=1G\n" + placed(start, 2**30))
    assert run.config.backing == backing
    warned = [note for note in run.notes if note.startswith("warning: backing=1G cannot be: the memory starts at")]
    assert len(warned) == (backing != "1G")


def test_the_old_line_with_an_offset_bounds_the_backing_too() -> None:
    (run,) = configured(OLD.read_text(), "backing=2M")
    assert run.config.backing == "4K"


def test_a_start_that_is_aligned_tells_the_backing_where_nothing_else_does() -> None:
    (run,) = configured(placed(0x3FFF40000000, 2**30))
    assert run.config.backing == "1G"
    assert any(note.startswith("backing=1G: nothing says it") for note in run.notes)


# mmu, split and kernel


def test_module_parameters_mean_fields() -> None:
    text = f"# tdp_mmu=Y backing=1G\n{ONE}# eager_page_split=N\n{ONE}# tdp_mmu=N\n{ONE}modprobe kvm_intel ept=N\n{ONE}"
    assert [(c.mmu, c.split) for c in configs(text)] == [
        ("tdp", "eager"),
        ("tdp", "fault"),
        ("legacy_tdp", "lazy"),
        ("shadow", "lazy"),
    ]


def test_module_parameters_may_be_words_of_the_user() -> None:
    assert texts(ONE, "tdp_mmu=N", "backing=1G") == ["backing=1G mmu=legacy_tdp split=lazy iterations=1"]


def test_a_real_release_is_kept_and_means_a_generation() -> None:
    (run,) = configured(f"# kernel=5.15.0-91-generic eager_page_split=N backing=2M\n{ONE}")
    assert (run.config.kernel, run.kernel_release, run.config.split) == ("6.1", "5.15.0-91-generic", "lazy")
    assert "kernel 5.15.0-91-generic behaves as generation 6.1" in run.notes


def test_a_release_that_cannot_split_eagerly_did_not() -> None:
    (run,) = configured(f"# kernel=5.15 backing=1G\n{ONE}")
    assert run.config.split == "lazy"
    assert any("does not split eagerly" in note for note in run.notes)


def test_an_mmu_on_which_upstream_does_not_split_eagerly_is_lazy_unless_said_otherwise() -> None:
    assert [c.split for c in configs(ONE, "mmu=legacy_tdp", "backing=1G")] == ["lazy"]
    assert [c.split for c in configs(ONE, "mmu=legacy_tdp", "backing=1G", "split=eager")] == ["eager"]


def test_a_test_older_than_eager_splitting_is_taken_for_a_kernel_of_its_time() -> None:
    (run,) = configured(OLD.read_text())
    assert config_text(run.config) == "mmu=tdp split=lazy manual_protect=false kernel=6.1"
    assert run.notes[0].startswith("the test is older than 5.18")
    assert texts(OLD.read_text(), "kernel=6.12") == ["mmu=tdp manual_protect=false"]


def test_a_nested_run_says_so_itself() -> None:
    (config,) = configs(f"Configuring vCPUs to run in L2 (nested).\n{ONE}")
    assert config.mmu == "nested"


# options, labels, where a run comes from


def test_disabling_under_running_vcpus_is_left_out() -> None:
    (run,) = configured(f"./dirty_log_perf_test -e -i 1\n{ONE}Disabling dirty logging time: 9.000000000s\n")
    assert [timing.phase for timing in run.timings] == ["dirty", "get", "clear"]
    assert run.notes == (
        "-e is passed over: it runs the vCPUs while logging is disabled, which is not modelled: that time is left out",
    )


def test_labels_of_user_and_file_stand_in_the_config() -> None:
    assert [c.label for c in configs(f"{ONE}# cpu=EPYC\n{TWO}", "label=base")] == ["base", "base+cpu=EPYC"]


def test_a_run_knows_where_it_comes_from() -> None:
    (run,) = configured(f"[root@box kvm]# ./dirty_log_perf_test -i 1\n{ONE}", "kernel=6.6.14")
    assert (run.host, run.kernel_release, run.source, run.place) == ("box", "6.6.14", "log", "log:2")
    assert run.started_at == datetime(2024, 1, 2, tzinfo=UTC)


# what cannot be right


@pytest.mark.parametrize(
    ("text", "words", "says"),
    [
        (
            f"./dirty_log_perf_test -s shmem\n{ONE}",
            [],
            "log:2: backing: -s shmem does not tell the page size; say it in a word after the file, or in a line `#",
        ),
        (
            f"./dirty_log_perf_test -g\n{ONE}",
            [],
            "log:2: manual_protect: false is given, but what the test printed says true",
        ),
        (f"./dirty_log_perf_test -i 2\n{ONE}", [], "log:2: iterations: 2 is given, but what the test printed says 1"),
        (f"# iterations=3\n{ONE}", [], "log:2: iterations: 3 is given, but what the test printed says 1"),
        (f"# slots=3\n{ONE}", [], "log:2: mem_per_vcpu: 1 vCPUs x 1GiB in 3 slot(s) is not made of"),
        (
            f"./dirty_log_perf_test -v $N -i 1\n{ONE}",
            [],
            "log:2: vcpus: its value in the command line of the test is not in the file; say it",
        ),
        (
            f"./dirty_log_perf_test -w $W -i 1\n{ONE}",
            [],
            "log:2: write_pattern: its value in the command line of the test is not in the file",
        ),
        (
            f"# backing=1G\necho $eager > /sys/module/kvm/parameters/eager_page_split\n{ONE}",
            [],
            "log:3: split: what was written to eager_page_split is not in the file; say it",
        ),
        (
            f"# vcpus=2 mem_per_vcpu=1GiB\n{NEW.read_text()}",
            [],
            "log:2: vcpus: the test memory is 4GiB, which is not 2 x 1GiB",
        ),
        (f"# vcpus=3\n{NEW.read_text()}", [], "log:2: vcpus: the test memory is 4GiB, which is not 3 x mem_per_vcpu"),
        (
            f"./dirty_log_perf_test -v 4 -i 1\n{ONE}",
            ["vcpus=2"],
            "log:2: vcpus: 2 is given, but the test's command line says 4",
        ),
        (
            f"# eager_page_split=N\n{ONE}",
            ["split=eager"],
            "log:2: split: eager is given, but eager_page_split=N holds for this run",
        ),
        (
            f"# tdp_mmu=N\n{ONE}",
            ["mmu=tdp"],
            "log:2: mmu: tdp is given, but KVM's module parameter says legacy_tdp",
        ),
    ],
)
def test_what_is_missing_or_contradicts_itself_is_an_error_with_its_place(
    text: str, words: list[str], says: str
) -> None:
    with pytest.raises(MeasurementError, match=f"^{re.escape(says)}"):
        configs(text, *words)
