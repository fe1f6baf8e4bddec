"""docs/findings.md stays true: its specs load, its commands run, and its statements hold with less memory."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from core.config import Config
from sweep.cli import exit_code
from sweep.dataset.query import query
from sweep.spec.configs import load_spec

ROOT = Path(__file__).parents[1]
DOCUMENT = (ROOT / "docs" / "findings.md").read_text()
SPECS = sorted([*(ROOT / "examples").glob("*.toml"), *(ROOT / "examples" / "findings").glob("*.toml")])
BLOCKS = re.findall(r"```sh\n(.*?)```\n\n<!-- output -->\n```text\n(.*?)```", DOCUMENT, re.DOTALL)
COMMANDS = [shlex.split(line) for block, _ in BLOCKS for line in re.split(r"\n(?=splitsweep )", block)]
RUNS = [words[2] for words in COMMANDS if words[1] == "run"]

REDUCED = {
    "large_vm": "mem_per_vcpu=2MiB",
    "large_vm_memory": "mem_per_vcpu=2MiB,4MiB,8MiB",
    "large_vm_12tb": "mem_per_vcpu=2MiB",
    "tasks": "mem_per_vcpu=4MiB",
    "read_pages": "mem_per_vcpu=64MiB",
    "read_pages_kvm": "mem_per_vcpu=64MiB",  # small already, and compared with real KVM
}
"""Less memory, in 2M pages, for each spec; 8MiB per vCPU if not named."""


def spec_id(path: Path) -> str:
    return str(path.relative_to(ROOT / "examples"))


@pytest.mark.parametrize("path", SPECS, ids=spec_id)
def test_every_example_means_a_sane_number_of_configs(path: Path) -> None:
    spec = load_spec(path, [])
    assert 1 <= len(spec.configs) <= 100
    assert all(tables_bytes(config) <= 6 * 2**30 for config in spec.configs), "more memory than a laptop has"


def tables_bytes(config: Config) -> int:
    """What the page tables of a config take: a byte for each page and root."""
    return config.pages * config.guest_roots


@pytest.mark.parametrize("path", SPECS, ids=spec_id)
def test_every_example_tells_how_to_run_it_and_names_its_dataset(path: Path) -> None:
    text = path.read_text()
    assert f"splitsweep run examples/{spec_id(path)}" in text
    for name in re.findall(r"results/([a-z0-9-]+)", text):
        assert name == load_spec(path, []).name


def test_every_finding_spec_is_in_the_document_with_a_table() -> None:
    assert {ROOT / name for name in RUNS} >= set((ROOT / "examples" / "findings").glob("*.toml"))
    assert len(BLOCKS) == DOCUMENT.count("<!-- output -->") == DOCUMENT.count("```text")
    assert all(output.strip().endswith("rows)") for _, output in BLOCKS)


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The datasets of all commands of the document, with less memory; the working directory is where they are."""
    folder = tmp_path_factory.mktemp("findings")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for name in RUNS:
            reduced = REDUCED.get(Path(name).stem, "mem_per_vcpu=8MiB")
            assert exit_code(["run", str(ROOT / name), reduced, "backing=2M", "--address", "inline"]) == 0
        yield folder


@pytest.mark.usefixtures("answers")
@pytest.mark.parametrize("words", [words for words in COMMANDS if words[1] != "run"], ids=lambda words: words[2])
def test_every_query_of_the_document_answers_with_the_columns_of_its_table(
    words: Sequence[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert exit_code(words[1:]) == 0
    header = capsys.readouterr().out.splitlines()[0].split()
    assert header in [output.splitlines()[0].split() for _, output in BLOCKS]


def values(name: str, column: str, where: str) -> list[Any]:
    """A column of the dataset's phases, in the order of the rows' memory, tasks and share of writes."""
    sql = f"SELECT {column} AS value FROM phases WHERE {where} ORDER BY mem_per_vcpu, guest_roots, write_percent"
    found: list[Any] = query(f"results/{name}", sql).column("value").to_pylist()
    return found


def value(name: str, column: str, where: str) -> Any:
    (found,) = values(name, column, where)
    return found


def dirty(name: str, where: str, iteration: int = 1) -> float:
    return float(value(name, "seconds", f"phase = 'dirty' AND iteration = {iteration} AND {where}"))


@pytest.mark.usefixtures("answers")
class TestFaultTimeSplit:
    """Question (a)."""

    def test_it_saves_most_of_what_eager_splitting_saves_with_reads(self) -> None:
        for mmu in ("legacy_tdp", "shadow"):
            where = f"NOT initially_all_set AND mmu = '{mmu}' AND write_percent = 20 AND split = "
            lazy, fault, eager = (dirty("fault-split", f"{where}'{split}'") for split in ("lazy", "fault", "eager"))
            assert eager < fault < lazy
            assert lazy - fault > 0.8 * (lazy - eager)

    def test_with_writes_alone_nothing_helps_shadow_paging_much(self) -> None:
        where = "mmu = 'shadow' AND write_percent = 100 AND split = "
        assert dirty("fault-split", f"{where}'eager'") > 0.8 * dirty("fault-split", f"{where}'lazy'")

    def test_the_first_writers_stall_longer_than_with_lazy_or_eager_splitting(self) -> None:
        where = "phase = 'dirty' AND NOT initially_all_set AND mmu = 'legacy_tdp' AND write_percent = 20 AND split = "
        lazy, fault, eager = (
            value("fault-split", "stall_max_ns", f"{where}'{split}'") for split in ("lazy", "fault", "eager")
        )
        assert eager < lazy < fault

    def test_with_initially_all_set_its_first_writes_are_never_fixed_without_the_lock(self) -> None:
        where = "mmu = 'legacy_tdp' AND write_percent = 20 AND split = 'fault' AND "
        assert value("fault-split", "faults_fast", f"phase = 'dirty' AND iteration = 2 AND {where} true") == 0
        slow, fast = (
            dirty("fault-split", where + "initially_all_set", 2),
            dirty("fault-split", where + "NOT initially_all_set"),
        )
        assert slow > 2 * fast


@pytest.mark.usefixtures("answers")
class TestReads:
    """Question (b)."""

    def ratios(self, mmu: str) -> list[float]:
        where = f"phase = 'dirty' AND mmu = '{mmu}' AND split = "
        lazy, eager = (values("reads", "seconds", f"{where}'{split}'") for split in ("lazy", "eager"))
        return [slow / quick for slow, quick in zip(lazy, eager, strict=True)]

    @pytest.mark.parametrize("mmu", ["shadow", "nested"])
    def test_the_fewer_writes_the_more_shadow_paging_gains(self, mmu: str) -> None:
        none, *some = self.ratios(mmu)
        assert none <= 1
        assert some == sorted(some, reverse=True)
        assert some[0] > 10 > 2 > some[-1] > 1

    @pytest.mark.parametrize("mmu", ["tdp", "legacy_tdp"])
    def test_elsewhere_the_seconds_saved_hardly_depend_on_the_writes(self, mmu: str) -> None:
        where = f"phase = 'dirty' AND write_percent > 0 AND mmu = '{mmu}' AND split = "
        lazy, eager = (values("reads", "seconds", f"{where}'{split}'") for split in ("lazy", "eager"))
        saved = [slow - quick for slow, quick in zip(lazy, eager, strict=True)]
        assert max(saved) < 1.15 * min(saved)


@pytest.mark.usefixtures("answers")
class TestTasks:
    """Questions (c) and (d)."""

    @pytest.mark.parametrize(("guest_page", "least", "most"), [("1G", 1, 1.05), ("2M", 1, 4), ("4K", 8, 16)])
    def test_enable_grows_with_the_tasks_only_where_they_map_4k_pages(
        self, guest_page: str, least: float, most: float
    ) -> None:
        where = f"phase = 'enable' AND split = 'eager' AND vcpus = 8 AND guest_page = '{guest_page}'"
        one, *_, many = values("tasks", "seconds", where)
        assert least <= many / one <= most

    def test_a_split_makes_each_table_once_whatever_the_number_of_tasks(self) -> None:
        for guest_page in ("1G", "2M"):
            where = f"phase = 'enable' AND split = 'eager' AND vcpus = 8 AND guest_page = '{guest_page}'"
            assert len(set(values("tasks", "tables_allocated", where))) == 1

    def test_only_lazy_splitting_makes_readers_fault(self) -> None:
        where = "phase = 'dirty' AND vcpus = 8 AND guest_page <> '4K' AND "
        assert set(values("tasks", "faults_not_present_read", f"{where} split <> 'lazy'")) == {0}
        reads, faults = (
            values("tasks", column, f"{where} split = 'lazy'") for column in ("faults_not_present_read", "faults")
        )
        assert all(read > 0.7 * fault for read, fault in zip(reads, faults, strict=True))

    @pytest.mark.parametrize(("guest_page", "times"), [("1G", 1), ("2M", 1), ("4K", 8)])
    def test_only_tasks_that_map_4k_pages_fault_for_each_of_them(self, guest_page: str, times: int) -> None:
        few = "phase = 'dirty' AND vcpus = 8 AND split = 'eager' AND guest_roots <= 8"
        one, eight = values("tasks", "faults", f"{few} AND guest_page = '{guest_page}'")
        assert eight == pytest.approx(times * one, rel=0.1)

    def test_l2_vms_that_share_memory_cost_next_to_nothing_more(self) -> None:
        where = "split = 'eager' AND write_percent = 100 AND phase = "
        for phase in ("enable", "dirty", "clear"):
            one, sixteen = values("l2", "seconds", f"{where}'{phase}'")
            assert sixteen == pytest.approx(one, rel=0.05)


@pytest.mark.usefixtures("answers")
class TestGranularity:
    """Question (e)."""

    def test_logging_at_2m_reports_everything_and_leaves_hardly_a_fault(self) -> None:
        pages = max(values("granularity", "accesses", "phase = 'dirty'"))
        assert set(values("granularity", "dirty_pages", "phase = 'get' AND granularity = '2M'")) == {pages}
        assert max(values("granularity", "faults", "phase = 'dirty' AND granularity = '2M'")) <= pages // 512
        for split in ("lazy", "eager"):
            where = f"mmu = 'shadow' AND split = '{split}' AND write_percent = 20 AND granularity = "
            assert dirty("granularity", f"{where}'2M'") < dirty("granularity", f"{where}'4K'") / 5


@pytest.mark.usefixtures("answers")
class TestLargeVM:
    """Question (f)."""

    @pytest.mark.parametrize(("split", "phase", "iteration"), [("eager", "clear", 1), ("fault", "dirty", 2)])
    def test_times_are_linear_in_memory(self, split: str, phase: str, iteration: int) -> None:
        first, second, third = values(
            "large-vm-memory", "seconds", f"split = '{split}' AND phase = '{phase}' AND iteration = {iteration}"
        )
        assert third - second == pytest.approx(2 * (second - first), rel=0.1)

    def test_eager_pays_in_the_first_clear_and_fault_in_the_pass_after_it(self) -> None:
        where = "mem_per_vcpu = 8388608 AND split = "
        eager, fault = (
            value("large-vm-memory", "seconds", f"phase = 'clear' AND iteration = 1 AND {where}'{split}'")
            for split in ("eager", "fault")
        )
        assert eager > 5 * fault
        assert dirty("large-vm-memory", f"{where}'eager'", 2) < dirty("large-vm-memory", f"{where}'fault'", 2)


@pytest.mark.usefixtures("answers")
class TestReadPages:
    """Question (g)."""

    def test_the_counts_are_those_of_real_kvm(self) -> None:
        for all_set, first in ((False, 1), (True, 2)):
            found = [
                value(
                    "read-pages-kvm",
                    "dirty_pages",
                    f"phase = 'get' AND initially_all_set = {all_set} AND iteration = {iteration}",
                )
                for iteration in (first, first + 1)
            ]
            assert found == [16_321, 3_340]

    def test_lazy_splitting_reports_nearly_all_pages_once(self) -> None:
        reported = values(
            "read-pages", "dirty_pages / (mem_per_vcpu / 4096)", "phase = 'get' AND iteration = 1 AND split = 'lazy'"
        )
        assert min(reported) > 0.7
        at_five = "phase = 'get' AND iteration = 1 AND split = 'lazy' AND write_percent >= 5"
        assert min(values("read-pages", "dirty_pages / (mem_per_vcpu / 4096)", at_five)) > 0.93

    def test_the_others_report_what_was_written(self) -> None:
        where = "split <> 'lazy' AND iteration IS NOT NULL AND phase = "
        reported = values("read-pages", "dirty_pages", f"{where}'get'")
        assert reported == values("read-pages", "pages_written", f"{where}'dirty'")


@pytest.mark.usefixtures("answers")
class TestRunningGuest:
    """Question (h)."""

    ALL = "clear_chunk = 0 AND preempt = '{preempt}' AND mmu = '{mmu}' AND phase = '{phase}'"

    def most(self, column: str, mmu: str, preempt: str, phase: str, also: str = "true") -> float:
        where = f"{self.ALL.format(preempt=preempt, mmu=mmu, phase=phase)} AND {column} IS NOT NULL AND {also}"
        return max(values("running-guest", column, where))

    @pytest.mark.parametrize("preempt", ["none", "full"])
    @pytest.mark.parametrize("phase", ["enable", "clear", "disable"])
    def test_on_tdp_nobody_waits_longer_than_an_exit(self, preempt: str, phase: str) -> None:
        for kind in ("read", "write"):
            assert self.most(f"{kind}_stall_max_ns", "tdp", preempt, phase) < 10_000

    def test_readers_of_the_shadow_mmu_do_not_wait_for_a_split_and_writers_do(self) -> None:
        reads, writes = (
            self.most(f"{kind}_stall_max_ns", "shadow", "none", "enable", "vcpus = 64") for kind in ("read", "write")
        )
        assert reads < 10_000
        assert writes > 50 * reads

    def test_a_preemptible_kernel_spares_writers_and_takes_longer(self) -> None:
        where = "vcpus = 16 AND NOT initially_all_set"
        kept, broken = (
            self.most("write_stall_max_ns", "shadow", preempt, "enable", where) for preempt in ("none", "full")
        )
        assert broken < kept / 5
        quick, slow = (self.most("seconds", "shadow", preempt, "enable", where) for preempt in ("none", "full"))
        assert quick < slow < 5 * quick

    @pytest.mark.parametrize("mmu", ["legacy_tdp", "shadow"])
    def test_without_preemption_the_disable_of_an_rmap_mmu_lets_nobody_in(self, mmu: str) -> None:
        stall = self.most("write_stall_max_ns", mmu, "none", "disable", "vcpus = 16")
        assert stall > 0.8e9 * self.most("seconds", mmu, "none", "disable", "vcpus = 16")

    def test_a_smaller_chunk_makes_the_longest_stall_of_a_clear_shorter(self) -> None:
        where = "mmu = 'shadow' AND vcpus = 16 AND preempt = 'none' AND initially_all_set AND phase = 'clear' AND "
        whole, chunk = (
            value("running-guest", "write_stall_max_ns", f"{where} clear_chunk = {size}") for size in (0, 16 * 2**20)
        )
        assert chunk < 0.7 * whole


@pytest.mark.usefixtures("answers")
class TestSteadyState:
    """Question (i)."""

    @pytest.mark.parametrize("mmu", ["shadow", "nested"])
    def test_once_all_is_split_eager_and_lazy_splitting_cost_the_same(self, mmu: str) -> None:
        for roots in (1, 16):
            first, last = (
                [
                    value(
                        "steady-state",
                        "seconds",
                        f"mmu = '{mmu}' AND guest_roots = {roots} AND split = '{split}' "
                        f"AND phase = 'dirty' AND iteration = {iteration}",
                    )
                    for split in ("eager", "lazy")
                ]
                for iteration in (1, 3)
            )
            assert last[0] == pytest.approx(last[1], rel=0.02)
            assert first[1] > 2 * first[0]

    @pytest.mark.parametrize("mmu", ["shadow", "nested"])
    def test_many_l2_vms_cost_their_own_splits_in_the_enable_and_nothing_afterwards(self, mmu: str) -> None:
        where = f"mmu = '{mmu}' AND split = 'eager' AND phase = "
        one, many = (
            value("steady-state", "tlb_flushes", f"{where} 'enable' AND guest_roots = {roots}") for roots in (1, 16)
        )
        assert many - 1 == 16 * (one - 1)
        passes = [values("steady-state", "seconds", f"{where} 'dirty' AND guest_roots = {roots}") for roots in (1, 16)]
        assert passes[0] == pytest.approx(passes[1], rel=0.01)
