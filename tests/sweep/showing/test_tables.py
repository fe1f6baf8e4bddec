"""What `splitsweep table` promises: the thread's layout, no silent mixing, no silent gaps, published values beside."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import pytest

from core.config import Config, config_record, make_config
from core.costs.profile import load_profile
from core.identity import ENGINE_VERSION
from sweep.dataset.views import open_dataset
from sweep.errors import QueryError, SpecError
from sweep.published.timings import machine_key, published_measurements
from sweep.showing.points import parse_metric
from sweep.showing.table_text import tables_text
from sweep.showing.tables import Table, accuracy, metric_tables, published_tables
from tests.sweep.datasets import Numbers, write_shard

GIB = 2**30
DIGEST = load_profile("cascade-lake-2022").digest
CAPTION = (
    "simulated by splitsweep: 1GiB per vCPU, backing 1G, MMU of kernel 6.12, "
    f"profile cascade-lake-2022 ({DIGEST[:8]}), engine version {ENGINE_VERSION}"
)

PUBLISHED = {(m.machine, m.phase, m.iteration): m.seconds for m in reversed(published_measurements())}

COUNTERFACTUAL = (
    "counterfactual: split = eager on legacy_tdp follows the thread's series; kernels need tdp_mmu=Y for it"
)

THREAD = {"mem_per_vcpu": "1GiB", "backing": "1G"}
CASES: list[dict[str, object]] = [
    {"mmu": "legacy_tdp", "initially_all_set": False, "iterations": 1},
    {"mmu": "legacy_tdp", "initially_all_set": True, "split_cache": "refilled"},
    {"mmu": "shadow", "initially_all_set": False, "iterations": 1},
    {"mmu": "shadow", "initially_all_set": False, "iterations": 1, "write_percent": 20},
]


def config(**values: object) -> Config:
    return make_config(THREAD | {"mmu": "legacy_tdp", "initially_all_set": False} | values)


def published_seconds(found: Config, phase: str, iteration: int | None) -> dict[str, object]:
    """A perfect prediction where there is a published value, one second elsewhere."""
    return {"seconds": PUBLISHED.get((machine_key(config_record(found)), phase, iteration), 1.0)}


def thread_configs() -> list[Config]:
    return [
        config(**case, split=split, vcpus=vcpus)
        for case in CASES
        for vcpus in (2, 4, 8, 16, 32, 64)
        for split in ("eager", "lazy")
    ]


def tables(
    folder: Path,
    metric: str = "dirty",
    iteration: int | None = None,
    rows: str = "vcpus",
    columns: str = "split",
    where: str | None = None,
    published: bool = False,
) -> list[Table]:
    with open_dataset(str(folder)) as dataset:
        return metric_tables(dataset, parse_metric(metric, iteration), rows, columns, where, published)


def thread_tables(folder: Path, where: str | None = None) -> list[Table]:
    with open_dataset(str(folder)) as dataset:
        return published_tables(dataset, where)


def lkml(found: Sequence[Table]) -> list[str]:
    return list(tables_text(found, "lkml"))


def column(table: Table, value: object) -> list[float | None]:
    return [table.cells[row, value].value for row in table.row_values]


def test_lkml_is_the_layout_of_the_thread(tmp_path: Path) -> None:
    configs = [config(split=split, vcpus=vcpus) for vcpus in (64, 2) for split in ("eager", "lazy")]
    write_shard(tmp_path, configs, published_seconds)
    assert lkml(tables(tmp_path)) == [
        '             | "Iteration 1 dirty memory time"             |',
        "             | ------------------------------------------- |",
        "vCPU Count   | eager_page_split=N   | eager_page_split=Y   |",
        "------------ | -------------------- | -------------------- |",
        "2            | 0.310786549s         | 0.058731929s         |",
        "64           | 16.501287504s        | 0.083914116s         |",
        COUNTERFACTUAL,
        CAPTION,
        "",
    ]


def test_columns_that_are_not_lazy_and_eager_alone_are_named_by_their_value(tmp_path: Path) -> None:
    configs = [config(mmu="tdp", split=split, vcpus=2) for split in ("eager", "fault", "lazy")]
    write_shard(tmp_path, configs, published_seconds)
    assert "vCPU Count   | split=lazy           | split=fault          | split=eager          |" in lkml(
        tables(tmp_path)
    )


@pytest.mark.parametrize(
    ("metric", "iteration", "title"),
    [
        ("enable", None, "Enabling dirty logging time"),
        ("clear", 2, "Iteration 2 clear dirty log time"),
        ("disable", None, "Disabling dirty logging time"),
        ("dirty.faults", 1, "Iteration 1 dirty memory: faults"),
    ],
)
def test_titles_are_the_words_of_the_benchmark(tmp_path: Path, metric: str, iteration: int | None, title: str) -> None:
    write_shard(tmp_path, [config()], lambda *row: {"seconds": 1.0, "faults": 4})
    assert f'"{title}"' in lkml(tables(tmp_path, metric, iteration))[0]


@pytest.mark.parametrize(
    ("metric", "text"),
    [("dirty.faults", "262144"), ("dirty.stall_p99_ns", "1520ns"), ("dirty.exit_seconds", "0.250000000s")],
)
def test_numbers_carry_the_unit_of_their_column(tmp_path: Path, metric: str, text: str) -> None:
    write_shard(tmp_path, [config()], lambda *row: {"faults": 262144, "stall_p99_ns": 1520.4, "exit_seconds": 0.25})
    assert text in lkml(tables(tmp_path, metric))[4]


def test_rows_sort_by_number_not_by_text(tmp_path: Path) -> None:
    write_shard(tmp_path, [config(vcpus=vcpus) for vcpus in (16, 2, 128, 4)])
    assert tables(tmp_path)[0].row_values == (2, 4, 16, 128)


def test_sizes_are_shown_as_people_write_them(tmp_path: Path) -> None:
    write_shard(tmp_path, [config(mem_per_vcpu=size) for size in ("4GiB", "1GiB")])
    assert [line.split()[0] for line in lkml(tables(tmp_path, rows="mem_per_vcpu"))[4:6]] == ["1GiB", "4GiB"]


def test_machines_that_differ_get_a_table_each_with_what_differs(tmp_path: Path) -> None:
    write_shard(tmp_path, thread_configs(), published_seconds)
    assert [dict(table.heading) for table in tables(tmp_path)] == [
        {"mmu": "legacy_tdp", "write_percent": 100, "initially_all_set": False},
        {"mmu": "legacy_tdp", "write_percent": 100, "initially_all_set": True},
        {"mmu": "shadow", "write_percent": 20, "initially_all_set": False},
        {"mmu": "shadow", "write_percent": 100, "initially_all_set": False},
    ]


def test_a_heading_stands_above_each_of_several_tables(tmp_path: Path) -> None:
    write_shard(tmp_path, [config(), config(mmu="shadow")])
    assert [line for line in lkml(tables(tmp_path)) if line.startswith("mmu=")] == ["mmu=legacy_tdp", "mmu=shadow"]


def test_pml_that_follows_from_mmu_does_not_tear_a_table_apart(tmp_path: Path) -> None:
    write_shard(tmp_path, [config(mmu=mmu) for mmu in ("shadow", "tdp", "legacy_tdp")])
    (table,) = tables(tmp_path, columns="mmu")
    assert table.column_values == ("tdp", "legacy_tdp", "shadow")
    assert "not the same in all cells: pml, guest_page" in lkml([table])


def test_what_only_live_runs_have_does_not_keep_them_from_the_simulated_ones(tmp_path: Path) -> None:
    engines: list[dict[str, object]] = [{"engine": "sim"}, {"engine": "live", "touch_memory": True}]
    write_shard(tmp_path, [config(**engine) for engine in engines])
    (table,) = tables(tmp_path, columns="engine")
    assert "not the same in all cells: touch_memory" in lkml([table])


def test_pml_that_was_chosen_sets_tables_apart(tmp_path: Path) -> None:
    write_shard(tmp_path, [config(pml=pml) for pml in (True, False)])
    assert [dict(table.heading) for table in tables(tmp_path)] == [{"pml": False}, {"pml": True}]


def test_repeats_are_summed_up_by_their_median(tmp_path: Path) -> None:
    repeats = [config(repeat=repeat) for repeat in range(3)]
    write_shard(tmp_path, repeats, lambda found, *row: {"seconds": (1.0, 5.0, 2.0)[found.repeat]})
    (table,) = tables(tmp_path)
    assert column(table, "eager") == [2.0]


def test_a_failed_config_is_a_gap_that_is_counted(tmp_path: Path) -> None:
    write_shard(tmp_path, [config(vcpus=2), config(vcpus=4), config(vcpus=2, split="lazy")])
    write_shard(tmp_path, [config(vcpus=8)], batch=1, failed=True)
    text = lkml(tables(tmp_path))
    assert text[5:8] == [
        "4            | -                    | 1.000000000s         |",
        "8            | -                    | -                    |",
        "- : 3 of 6 cells have no value: 1 failed, 2 not in the dataset",
    ]


def test_where_is_the_language_of_the_specs(tmp_path: Path) -> None:
    write_shard(tmp_path, [config(vcpus=2), config(vcpus=4), config(vcpus=4, mem_per_vcpu="2GiB")])
    (table,) = tables(tmp_path, where="vcpus >= 4 AND mem_per_vcpu < '2GiB'")
    assert (table.row_values, dict(table.heading)) == ((4,), {})


def test_published_puts_value_and_error_beside(tmp_path: Path) -> None:
    write_shard(tmp_path, [config(split="lazy", vcpus=2)], lambda *row: {"seconds": 0.3})
    text = lkml(tables(tmp_path, published=True))
    assert text[3:] == [
        "vCPU Count   |    predicted     published  error |",
        "------------ | --------------------------------- |",
        "2            | 0.300000000s  0.310786549s  -3.5% |",
        "Errors: 1 published value, median error 3.5%, worst 3.5%",
        CAPTION,
        "",
    ]


def test_published_says_so_where_nothing_was_published(tmp_path: Path) -> None:
    write_shard(tmp_path, [config(vcpus=3)])
    text = lkml(tables(tmp_path, published=True))
    assert text[5].split() == ["3", "|", "1.000000000s", "-", "-", "|"]
    assert "Errors: nothing published for these configs" in text


def test_another_machine_than_the_published_one_does_not_match(tmp_path: Path) -> None:
    write_shard(tmp_path, [config(vcpus=2, slots=2), config(vcpus=2, pml=False), config(vcpus=2, backing="2M")])
    assert accuracy(tables(tmp_path, published=True)) is None


def test_the_sweep_of_the_cover_letter_gives_the_six_tables_in_the_order_of_the_thread(tmp_path: Path) -> None:
    write_shard(tmp_path, thread_configs(), published_seconds)
    found = [table for table in thread_tables(tmp_path) if table.source.startswith("thread")]
    assert [(t.metric.phase, t.metric.iteration, t.heading["mmu"], t.heading["write_percent"]) for t in found] == [
        ("dirty", 1, "legacy_tdp", 100),
        ("enable", None, "legacy_tdp", 100),
        ("clear", 1, "legacy_tdp", 100),
        ("clear", 2, "legacy_tdp", 100),
        ("dirty", 1, "shadow", 100),
        ("dirty", 1, "shadow", 20),
    ]
    assert lkml(found)[-1] == "All 6 tables: 72 published values, median error 0.0%, 90th percentile 0.0%, worst 0.0%"


def test_other_datasets_give_the_published_tables_they_match(tmp_path: Path) -> None:
    nested = [config(mmu="nested", split="lazy", vcpus=4, initially_all_set=True)]
    tdp = [config(mmu="tdp", split=split, vcpus=96, iterations=1) for split in ("lazy", "fault", "eager")]
    write_shard(tmp_path, nested + tdp, published_seconds)
    found = [(t.heading["mmu"], t.metric.phase, t.metric.iteration) for t in thread_tables(tmp_path)]
    assert found == [("nested", "clear", 1), ("nested", "clear", 2), ("tdp", "dirty", 1), ("tdp", "enable", None)]


def test_published_tables_of_two_kernels_are_kept_apart(tmp_path: Path) -> None:
    write_shard(
        tmp_path, [config(vcpus=2, iterations=1, kernel=kernel) for kernel in ("6.1", "6.12")], published_seconds
    )
    found = [table for table in thread_tables(tmp_path) if table.source.startswith("thread")]
    assert [(t.metric.phase, t.heading["kernel"]) for t in found] == [
        ("dirty", "6.1"),
        ("dirty", "6.12"),
        ("enable", "6.1"),
        ("enable", "6.12"),
    ]


def test_accuracy_counts_errors_in_both_directions(tmp_path: Path) -> None:
    factors = {2: 1.1, 4: 0.8, 8: 1.0}
    write_shard(
        tmp_path,
        [config(split="lazy", vcpus=vcpus) for vcpus in factors],
        lambda found, *row: {
            "seconds": PUBLISHED[machine_key(config_record(found)), "dirty", 1] * factors[found.vcpus]
        },
    )
    summary = accuracy(tables(tmp_path, published=True))
    assert summary is not None
    assert (summary.values, round(summary.median), round(summary.p90), round(summary.worst)) == (3, 10, 20, 20)


def test_markdown_names_each_table(tmp_path: Path) -> None:
    write_shard(tmp_path, [config(split=split, vcpus=2) for split in ("eager", "lazy")], published_seconds)
    assert list(tables_text(tables(tmp_path), "markdown")) == [
        "### Iteration 1 dirty memory time",
        "",
        "| vCPU Count | eager_page_split=N | eager_page_split=Y |",
        "| ---: | ---: | ---: |",
        "| 2 | 0.310786549s | 0.058731929s |",
        "",
        f"{COUNTERFACTUAL}  \n{CAPTION}",
        "",
    ]


def test_csv_has_one_line_per_cell_and_all_digits(tmp_path: Path) -> None:
    write_shard(
        tmp_path, [config(split="lazy", vcpus=2), config(mmu="shadow", split="lazy", vcpus=2)], published_seconds
    )
    lines = list(csv.DictReader(tables_text(tables(tmp_path, published=True), "csv")))
    assert lines[0] == {
        "phase": "dirty",
        "iteration": "1",
        "column": "seconds",
        "mmu": "legacy_tdp",
        "vcpus": "2",
        "split": "lazy",
        "value": "0.310786549",
        "published": "0.310786549",
        "error_percent": "0.0",
        "mem_per_vcpu": "1GiB",
        "backing": "1G",
        "kernel": "6.12",
        "engine": "sim",
        "profile": "cascade-lake-2022",
        "profile_digest": DIGEST,
        "host": "any",
        "kernel_release": "any",
        "engine_version": ENGINE_VERSION,
        "revision": "",
    }
    assert [line["mmu"] for line in lines] == ["legacy_tdp", "shadow"]


@pytest.mark.parametrize(
    ("metric", "iteration", "message"),
    [
        ("dirt", None, "--metric: there is no phase 'dirt'; allowed: populate, enable, dirty, get, clear"),
        ("dirty.second", None, "--metric: there is no column 'second'; allowed: seconds, "),
        ("stall_p99_ns", None, "--metric: stall_p99_ns is a column; name its phase too, like dirty.stall_p99_ns"),
        ("dirty.vcpus", None, "--metric: there is no column 'vcpus'"),
        ("enable", 1, "--iteration: enable runs once; allowed: leave --iteration out"),
    ],
)
def test_a_metric_that_does_not_exist(metric: str, iteration: int | None, message: str) -> None:
    with pytest.raises(QueryError) as caught:
        parse_metric(metric, iteration)
    assert str(caught.value).startswith(message)


def test_an_iteration_the_dataset_does_not_have(tmp_path: Path) -> None:
    write_shard(tmp_path, [config()])
    with pytest.raises(QueryError) as caught:
        tables(tmp_path, iteration=5)
    assert str(caught.value) == (
        "--metric: dirty of iteration 5 is nowhere in this dataset; there are: populate, enable, dirty 1 to 2, "
        "get 1 to 2, clear 1 to 2, disable, after_disable"
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rows": "cpus"}, "--rows: there is no field 'cpus'"),
        ({"rows": "address_spaces"}, "--rows: address_spaces is called guest_roots now"),
        ({"columns": "repeat"}, "--columns: there is no field 'repeat'"),
        ({"columns": "vcpus"}, "--columns: vcpus is the field of --rows already"),
        ({"metric": "dirty.faults", "published": True}, "--published: only times were published, not faults"),
        ({"where": "vcpus > 1000"}, "--where: no config of this dataset matches vcpus > 1000"),
    ],
)
def test_an_option_that_cannot_be_followed(tmp_path: Path, options: dict[str, str], message: str) -> None:
    write_shard(tmp_path, [config()])
    with pytest.raises(QueryError) as caught:
        tables(tmp_path, **options)  # type: ignore[arg-type]
    assert str(caught.value).startswith(message)


def test_where_reaches_nothing_but_the_fields(tmp_path: Path) -> None:
    write_shard(tmp_path, [config()])
    with pytest.raises(SpecError, match="where: no subquery here"):
        tables(tmp_path, where="vcpus IN (SELECT 1)")


def test_a_dataset_without_any_published_config_says_so(tmp_path: Path) -> None:
    write_shard(tmp_path, [config(vcpus=3)])
    with pytest.raises(QueryError, match="--published: no config of this dataset is one that was published"):
        thread_tables(tmp_path)


def headings(found: Sequence[Table]) -> list[dict[str, object]]:
    return [dict(table.heading) for table in found]


def fixed_seconds(seconds: float) -> Numbers:
    return lambda *row: {"seconds": seconds}


def test_rows_of_two_contents_of_a_profile_are_no_repeats_of_each_other(tmp_path: Path) -> None:
    write_shard(tmp_path, [config()], fixed_seconds(1.694))
    write_shard(tmp_path, [config()], fixed_seconds(2.323), batch=1, profile_digest="0123456789abcdef")
    first, second = sorted(tables(tmp_path), key=lambda table: column(table, "eager"))
    assert (column(first, "eager"), column(second, "eager")) == ([1.694], [2.323])
    assert first.heading["origin"] == f"cascade-lake-2022 {DIGEST[:8]}"
    assert second.heading["origin"] == "cascade-lake-2022 01234567"


def test_rows_of_two_engine_versions_are_no_repeats_of_each_other(tmp_path: Path) -> None:
    write_shard(tmp_path, [config()], fixed_seconds(1.0))
    write_shard(tmp_path, [config()], fixed_seconds(3.0), batch=1, engine_version="1")
    assert sorted(str(heading["origin"]) for heading in headings(tables(tmp_path))) == [
        "cascade-lake-2022, engine 1",
        f"cascade-lake-2022, engine {ENGINE_VERSION}",
    ]


def measured(folder: Path, seconds: Sequence[float], batch: int, **origin: object) -> None:
    """Repeats of a measurement on a host."""
    label = str(origin.pop("label", ""))
    for repeat, value in enumerate(seconds):
        live = config(engine="live", repeat=repeat, label=label)
        write_shard(folder, [live], fixed_seconds(value), batch=100 * batch + repeat, **origin)


def test_hosts_and_kernels_that_measured_get_tables_of_their_own(tmp_path: Path) -> None:
    measured(tmp_path, [1.0], 1, host="a", kernel_release="6.1")
    measured(tmp_path, [2.0], 2, host="a", kernel_release="6.7")
    measured(tmp_path, [3.0], 3, host="b", kernel_release="6.7")
    assert headings(tables(tmp_path)) == [
        {"host": "a", "kernel_release": "6.1"},
        {"host": "a", "kernel_release": "6.7"},
        {"host": "b", "kernel_release": "6.7"},
    ]


@pytest.mark.parametrize(("name", "values"), [("host", ["a", "b"]), ("label", ["old", "new"])])
def test_what_tells_measurements_apart_can_be_laid_out(tmp_path: Path, name: str, values: list[str]) -> None:
    measured(tmp_path, [1.0], 1, host="a", label="old")
    measured(tmp_path, [2.0], 2, host="b", label="new")
    (table,) = tables(tmp_path, columns=name)
    assert [column(table, value) for value in values] == [[1.0], [2.0]]
    assert headings([table]) == [{}]


def test_a_simulation_is_the_same_on_every_host(tmp_path: Path) -> None:
    write_shard(tmp_path, [config(vcpus=2)], host="a", kernel_release="6.1")
    write_shard(tmp_path, [config(vcpus=4)], batch=1, host="b", kernel_release="6.7")
    assert headings(tables(tmp_path)) == [{}]
    (table,) = tables(tmp_path, columns="host")
    assert table.column_values == ("any",)


def test_repeats_that_disagree_are_told_with_the_worst_of_them(tmp_path: Path) -> None:
    measured(tmp_path, [0.3, 0.31, 0.6], 1, host="a")
    assert (
        "repeats disagree: 1 of 1 values are medians of repeats more than 1.5x apart, "
        "most at vcpus=1 split=eager: 0.3 to 0.6 in 3 repeats"
    ) in lkml(tables(tmp_path))


def test_repeats_that_agree_need_no_word(tmp_path: Path) -> None:
    measured(tmp_path, [0.3, 0.31, 0.4], 1, host="a")
    assert not any("disagree" in line for line in lkml(tables(tmp_path)))


def test_a_caption_names_the_host_of_a_measurement(tmp_path: Path) -> None:
    measured(tmp_path, [1.0], 1, host="a", kernel_release="6.7")
    assert (
        "measured by splitsweep's live engine: 1GiB per vCPU, backing 1G, MMU of kernel 6.12, host a, kernel 6.7, "
        f"engine version {ENGINE_VERSION}"
    ) in lkml(tables(tmp_path))


def test_a_caption_names_every_value_that_a_table_has(tmp_path: Path) -> None:
    write_shard(tmp_path, [config(vcpus=vcpus, mem_per_vcpu=64 * GIB // vcpus) for vcpus in (8, 16, 32)])
    (table,) = tables(tmp_path)
    assert any("2GiB/4GiB/8GiB per vCPU, backing 1G" in line for line in lkml([table]))


def test_a_total_that_was_chosen_keeps_its_vcpus_in_one_table(tmp_path: Path) -> None:
    sizes = (64 * GIB, 128 * GIB)
    write_shard(
        tmp_path, [config(vcpus=vcpus, mem_per_vcpu=size // vcpus) for size in sizes for vcpus in (2, 4, 8, 16)]
    )
    assert headings(tables(tmp_path)) == [{"mem_total": size} for size in sizes]
    (table,) = tables(tmp_path, columns="mem_total")
    assert table.column_values == sizes
    assert "64GiB" in lkml([table])[2]


def test_more_vcpus_than_the_host_of_the_profile_has_cpus_are_an_extrapolation(tmp_path: Path) -> None:
    write_shard(tmp_path, [config(vcpus=vcpus) for vcpus in (64, 96, 128)])
    assert "extrapolated: 1 of 3 values, beyond the 96 CPUs of the profile's host" in lkml(tables(tmp_path))


def test_where_may_ask_for_the_host(tmp_path: Path) -> None:
    measured(tmp_path, [1.0], 1, host="a")
    measured(tmp_path, [2.0], 2, host="b")
    (table,) = tables(tmp_path, where="host = 'b'")
    assert column(table, "eager") == [2.0]
