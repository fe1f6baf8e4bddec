"""A file is read into runs, and each has what the file says about it at its place."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from sweep.evidence.measurements import MeasurementError
from sweep.evidence.selftest.text import NO_COMMAND, SelftestText, TimedRun, read_selftest_text
from tests.sweep.evidence.selftest.outputs import ONE, TWO

DATA = Path(__file__).parents[3] / "data"


def read(text: str) -> SelftestText:
    return read_selftest_text("log", text)


def runs(text: str) -> tuple[TimedRun, ...]:
    return read(text).runs


def test_a_loop_leaves_a_run_for_each_turn_with_its_header_and_command() -> None:
    text = read((DATA / "dirty-log-perf-loop.txt").read_text())
    assert [run.place for run in text.runs] == ["log:3", "log:21"]
    assert [run.said.fields["split"] for run in text.runs] == ["fault", "eager"]
    assert [run.options.fields["vcpus"] for run in text.runs] == [2, 2]
    assert [line.text for line in text.skipped] == [
        'irq 16: nobody cared (try booting with the "irqpoll" option)',
    ]


def test_runs_are_told_apart_without_any_preamble() -> None:
    lines = [line for line in (ONE + TWO).splitlines() if line.startswith("Iteration")]
    assert [run.printed.timings[0].seconds for run in runs("\n".join(lines))] == [1.0, 2.0]


def test_lines_of_the_test_that_had_something_in_front_are_counted() -> None:
    text = read("".join(f"# {line}\n" for line in ONE.splitlines()) + TWO)
    assert (len(text.runs), text.prefixed, text.skipped) == (2, 4, ())


def test_a_header_replaces_what_it_names_and_holds_until_the_next() -> None:
    found = runs(f"{ONE}# vcpus=8 split=lazy\n{TWO}# vcpus=16\n{ONE}")
    assert [run.said.fields for run in found] == [{}, {"vcpus": 8, "split": "lazy"}, {"vcpus": 16, "split": "lazy"}]


@pytest.mark.parametrize(
    "header",
    ["# vcpus=2, mmu=tdp", "# vcpus = 2 mmu = tdp", "# vcpus= 2; mmu =tdp", "vcpus=2 mmu=tdp", "# # vcpus=2 mmu=tdp"],
)
def test_a_header_may_be_written_freely(header: str) -> None:
    (run,) = runs(f"{header}\n{ONE}")
    assert run.said.fields == {"vcpus": 2, "mmu": "tdp"}


def test_words_in_a_comment_count_and_the_sentence_around_them_does_not() -> None:
    (run,) = runs(f"# now with split=lazy on the same host\n{ONE}")
    assert run.said.fields == {"split": "lazy"}


def test_module_parameters_facts_and_releases_are_words_too() -> None:
    (run,) = runs(f"# tdp_mmu=N eager_page_split=0 host=box kernel=5.15.0-91-generic label=base\n{ONE}")
    assert run.said.parameters == {"tdp_mmu": False, "eager_page_split": False}
    assert (run.said.host, run.said.kernel_release) == ("box", "5.15.0-91-generic")
    assert run.said.fields == {"kernel": "6.1", "label": "base"}


def test_words_that_mean_nothing_here_are_kept_in_the_label() -> None:
    (run,) = runs(f"# cpu=EPYC-7763 vcpus=2 governor=performance\n{ONE}")
    assert run.said.label == "cpu=EPYC-7763+governor=performance"
    assert run.said.fields == {"vcpus": 2}


def test_a_note_may_have_a_value_of_several_words() -> None:
    (run,) = runs(f"# cpu=AMD EPYC 7763 date=2024-01-01 12:00 vcpus=2 on one socket\n{ONE}")
    assert run.said.label == "cpu=AMD_EPYC_7763+date=2024-01-01_12:00"
    assert run.said.fields == {"vcpus": 2}


def test_a_heading_sets_parameters_and_what_it_adds_is_the_label() -> None:
    found = runs(f"Run 1: tdp_mmu=Y\n{ONE}Run 2: tdp_mmu=N\n{TWO}Run 3: tdp_mmu=Y, recovered in place\n{ONE}")
    assert [run.said.parameters for run in found] == [{"tdp_mmu": True}, {"tdp_mmu": False}, {"tdp_mmu": True}]
    assert [run.said.label for run in found] == ["", "", "recovered_in_place"]


def test_what_is_said_last_holds() -> None:
    found = runs(
        f"# mmu=tdp split=eager\n{ONE}$ echo N > /sys/module/kvm/parameters/eager_page_split\n{ONE}# split=lazy\n{ONE}"
    )
    assert [run.said.fields.get("split") for run in found] == ["eager", None, "lazy"]
    assert [dict(run.said.parameters) for run in found] == [{}, {"eager_page_split": False}, {}]


def test_modules_that_are_loaded_anew_have_their_defaults_again() -> None:
    found = runs(f"modprobe kvm_intel ept=N\n{ONE}modprobe -r kvm_intel\nmodprobe kvm tdp_mmu=N\n{ONE}")
    assert [dict(run.said.parameters) for run in found] == [{"ept": False}, {"tdp_mmu": False}]


def test_what_a_command_prints_is_said() -> None:
    text = f"$ uname -r\n6.1.0-18-amd64\n$ hostname\nbox\n$ cat /sys/module/kvm/parameters/tdp_mmu\nN\n{ONE}"
    (run,) = runs(text)
    assert (run.said.kernel_release, run.said.host, run.said.parameters) == (
        "6.1.0-18-amd64",
        "box",
        {"tdp_mmu": False},
    )


def test_a_parameter_set_to_what_cannot_be_read_is_forgotten_and_told() -> None:
    unreadable = "echo $eager > /sys/module/kvm/parameters/eager_page_split"
    found = runs(f"# eager_page_split=N\n{ONE}{unreadable}\n{ONE}# split=lazy\n{ONE}")
    assert [run.unreadable for run in found] == [frozenset(), {"eager_page_split"}, frozenset()]
    assert found[1].said.parameters == {}


def test_a_command_line_holds_until_the_next_one() -> None:
    found = runs(f"{ONE}$ ./dirty_log_perf_test -v 4 -x 2\n{ONE}{TWO}$ sudo ./dirty_log_perf_test -v 8 > log\n{ONE}")
    assert found[0].options is NO_COMMAND
    assert [run.options.fields for run in found[1:]] == [{"vcpus": 4, "slots": 2}] * 2 + [{"vcpus": 8}]


def test_a_command_line_that_cannot_be_read_in_full_replaces_the_one_before() -> None:
    found = runs(f"./dirty_log_perf_test -v 2 -b 1G\n{ONE}./dirty_log_perf_test -v $N -s anonymous_thp\n{ONE}")
    assert found[1].options.fields == {"backing": "2M"}
    assert found[1].options.unreadable == {"vcpus"}


def test_a_command_line_may_go_on_in_the_next_line() -> None:
    (run,) = runs(f"$ ./dirty_log_perf_test -v 4 \\\n> -s anonymous_thp\n{ONE}")
    assert run.options.fields == {"vcpus": 4, "backing": "2M"}


def test_options_alone_say_what_a_command_line_says() -> None:
    (run,) = runs(f"# options: -v 4 -o -s anonymous_thp\n{ONE}")
    assert run.options.fields == {"vcpus": 4, "partitioned": False, "backing": "2M"}


def test_a_table_of_the_source_or_the_usage_is_passed_over() -> None:
    text = read(f' pr_info("Populate memory time: %ld.%.9lds\\n",\n -v: specify the number of vCPUs to run.\n{ONE}')
    assert (len(text.runs), len(text.skipped)) == (1, 2)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "log: no run of dirty_log_perf_test in it"),
        ("Hello\nTest iterations: 2\n", "log: no run of dirty_log_perf_test in it"),
        (f"# vcpus=two\n{ONE}", "log:1: vcpus: 'two' is not a whole number"),
        (f"# vcpus=0\n{ONE}", "log:1: vcpus: 0 is out of range; allowed: 1 to 4096"),
        (f"# mmu=tdp engine=kvm\n{ONE}", "log:1: engine: is set by the import; leave it out"),
        (f"# tdp_mmu=maybe\n{ONE}", "log:1: tdp_mmu: 'maybe' is not allowed; allowed: Y, N, 1, 0, on, off"),
        (f"# kernel=4.19\n{ONE}", "log:1: kernel: 4.19 is older than the TDP MMU"),
        (f"./dirty_log_perf_test -v two\n{ONE}", "log:1: -v two: is not a whole number"),
        (f"./dirty_log_perf_test -v 0\n{ONE}", "log:1: vcpus: 0 is out of range; allowed: 1 to 4096"),
        (ONE.replace(": 1\n", ": 2\n"), "log:1: the run has 1 of 2 iterations"),
        (ONE.replace("1.000000000s", "-1.000000000s"), "log:2: dirty memory time: '-1.000000000s' is no time"),
        (ONE.replace("1.000000000s", "nans"), "log:2: dirty memory time: 'nans' is no time"),
        (
            f"Testing guest mode: PA-bits:40,  VA-bits:48, 64K pages\n{ONE}",
            "log:1: guest mode: 'PA-bits:40,  VA-bits:48, 64K pages' is of another architecture or page size",
        ),
        ("\n".join(ONE.splitlines()[:2]), "log:1: the run is not whole in iteration 1 ('get dirty log time')"),
    ],
)
def test_what_cannot_be_right_is_an_error_with_its_place(text: str, says: str) -> None:
    with pytest.raises(MeasurementError, match=f"^{re.escape(says)}"):
        read(text)
