"""Each line that the test prints is known, and its runs are whole or refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.kvm.errors import SelftestError
from core.kvm.output import Preamble, PrintedRun, RunReader, Summary, Timing, read_line

DATA = Path(__file__).parents[2] / "data"


def read(text: str) -> PrintedRun:
    run = RunReader()
    for line in filter(None, (line.strip() for line in text.splitlines())):
        shown = read_line(line)
        assert shown is not None, line
        if not isinstance(shown, Summary):
            assert run.belongs(shown), line
            run.take(shown)
    return run.whole_run()


def test_the_old_format_has_no_clear_and_tells_only_where_the_memory_starts() -> None:
    run = read((DATA / "dirty-log-perf-5.17.txt").read_text())
    assert [(timing.phase, timing.iteration) for timing in run.timings] == [
        ("populate", None),
        ("enable", None),
        ("dirty", 1),
        ("get", 1),
        ("dirty", 2),
        ("get", 2),
        ("disable", None),
    ]
    assert run.timings[2] == Timing("dirty", 1, 0.310786549)
    assert (run.has_clear, run.preamble) == (False, Preamble(iterations=2, start=0x7FBFFFFF000, old=True))


def test_the_new_format_tells_iterations_seed_and_memory() -> None:
    run = read((DATA / "dirty-log-perf-6.12.txt").read_text())
    assert (run.iterations, run.has_clear, len(run.timings)) == (3, True, 12)
    assert run.preamble == Preamble(iterations=3, seed=1, start=0x7FEFFFFF000, memory=4 * 2**30)
    assert run.timings[-1] == Timing("disable", None, 0.004702919)


def test_the_seed_that_is_printed_last_is_the_one_used() -> None:
    run = RunReader()
    for line in ("Random seed: 0x6b8b4567", "Test iterations: 2", "Random seed: 0x2"):
        shown = read_line(line)
        assert isinstance(shown, Preamble)
        run.take(shown)
    assert run.preamble.seed == 2


def test_a_nested_run_says_so() -> None:
    assert read_line("Configuring vCPUs to run in L2 (nested).") == Preamble(nested=True)


@pytest.mark.parametrize("mode", ["PA-bits:ANY, VA-bits:48,  4K pages", "PA-bits:ANY, VA-bits:48 or 57,  4K pages"])
def test_guests_of_x86_are_known(mode: str) -> None:
    assert read_line(f"Testing guest mode: {mode}") == Preamble()


@pytest.mark.parametrize(
    "mode",
    ["PA-bits:40,  VA-bits:48,  4K pages", "PA-bits:ANY, VA-bits:48, 64K pages", "PA-bits:44,  VA-bits:64,  4K pages"],
)
def test_guests_of_other_architectures_and_page_sizes_are_refused(mode: str) -> None:
    with pytest.raises(SelftestError, match="is of another architecture or page size; allowed: x86 with 4K pages"):
        read_line(f"Testing guest mode: {mode}")


@pytest.mark.parametrize("text", ["-0.100000000s", "nans", "infs", "0.1", "1e3s", "0,1s", "0.-00000001s", "1s"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(SelftestError, match=r"is no time; allowed: seconds like 0\.310786549s, not negative"):
        read_line(f"Iteration 1 dirty memory time: {text}")


@pytest.mark.parametrize(
    "line",
    [
        "dirty memory time: 0.1s",
        "Iteration 1 Populate memory time: 0.1s",
        "vCPU 0 iteration 1 dirty memory time: 0.1s",
        "Iteration %d dirty memory time: %ld.%.9lds",
        "Iteration 0 dirty memory time: 0.1s",
    ],
)
def test_other_lines_are_not_the_tests(line: str) -> None:
    assert read_line(line) is None


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        (["Populate memory time: 0.5s"], "the run has no 'Iteration 1 dirty memory time'"),
        (["Iteration 1 dirty memory time: 0.5s"], "the run is not whole in iteration 1 ('get dirty log time')"),
        (
            ["Iteration 2 dirty memory time: 0.5s", "Iteration 2 get dirty log time: 0.5s"],
            "the run is not whole in iteration 1 ('dirty memory time')",
        ),
        (
            ["Test iterations: 2", "Iteration 1 dirty memory time: 0.5s", "Iteration 1 get dirty log time: 0.5s"],
            "the run has 1 of 2 iterations",
        ),
    ],
)
def test_a_run_that_broke_off_is_refused(lines: list[str], says: str) -> None:
    with pytest.raises(SelftestError) as caught:
        read("\n".join(lines))
    assert str(caught.value).startswith(says)
