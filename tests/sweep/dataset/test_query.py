"""What `splitsweep query` promises: four views over the shards, one SELECT, errors in one line."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime
from pathlib import Path

import pyarrow.parquet
import pytest

from core.config import LIVE_FIELDS, Config, make_config
from core.rows import RUN_COLUMNS
from sweep.dataset.listing import CURE
from sweep.dataset.query import query, result_text, select, write_parquet
from sweep.dataset.views import open_dataset
from sweep.errors import QueryError, StoreError
from sweep.published.timings import published_measurements
from tests.sweep.datasets import as_of_former_version, one_second, write_shard


def shadow(vcpus: int) -> Config:
    return make_config({"mmu": "shadow", "backing": "1G", "vcpus": vcpus, "iterations": 1})


@pytest.fixture
def dataset(tmp_path: Path) -> str:
    write_shard(tmp_path, [shadow(2), shadow(4)])
    write_shard(tmp_path, [shadow(8)], batch=1, failed=True)
    return str(tmp_path)


def values(location: str, sql: str) -> list[tuple[object, ...]]:
    return [tuple(row.values()) for row in query(location, sql).to_pylist()]


def shard_file(location: str, status: str, table: str) -> Path:
    """The file of the shard whose runs have this status."""
    for file in Path(location, "runs").glob("*.parquet"):
        if pyarrow.parquet.read_table(file)["status"].to_pylist()[0] == status:
            return Path(location, table, file.name)
    raise AssertionError


def error_of(location: str, sql: str) -> str:
    with pytest.raises((QueryError, StoreError)) as caught:
        query(location, sql)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_runs_has_one_row_for_each_config(dataset: str) -> None:
    assert values(dataset, "SELECT vcpus, status FROM runs ORDER BY ALL") == [(2, "ok"), (4, "ok"), (8, "failed")]


def test_phases_has_one_row_for_each_phase_of_a_finished_config(dataset: str) -> None:
    found = values(
        dataset, "SELECT phase, iteration FROM phases WHERE vcpus = 4 AND iteration IS NOT NULL ORDER BY ALL"
    )
    assert found == [("clear", 1), ("dirty", 1), ("get", 1)]


def test_failures_tells_what_failed_and_why(dataset: str) -> None:
    found = values(dataset, "SELECT vcpus, error_type, error, attempts FROM failures")
    assert found == [(8, "MemoryError", "no memory for the page tables", 3)]


def test_published_uses_the_names_of_config_fields(dataset: str) -> None:
    found = values(
        dataset,
        "SELECT mem_per_vcpu, backing, seconds FROM published "
        "WHERE mmu = 'legacy_tdp' AND split = 'lazy' AND vcpus = 64 AND phase = 'dirty' AND iteration = 1 "
        "AND write_percent = 100 AND NOT initially_all_set AND host = 'cascade-lake-2022'",
    )
    assert found == [(2**30, "1G", 16.501287504), (2**30, "1G", 17.907075277)]  # v1 and v3 of the thread's series


def test_every_published_value_is_there() -> None:
    assert len(published_measurements()) == 144 + 102


def test_a_config_that_two_shards_hold_shows_its_newest_rows_only(dataset: str) -> None:
    write_shard(
        Path(dataset),
        [shadow(2)],
        lambda config, phase, iteration: {"seconds": 2.0},
        batch=2,
        started_at="2026-01-02T00:00:00Z",
    )
    newest = [(1, datetime(2026, 1, 2, tzinfo=UTC))]
    assert values(dataset, "SELECT count(*), max(started_at) FROM runs WHERE vcpus = 2") == newest
    assert values(dataset, "SELECT DISTINCT seconds, count(*) FROM phases WHERE vcpus = 2 GROUP BY 1") == [(2.0, 7)]


def test_a_config_that_failed_and_then_succeeded_is_no_failure(dataset: str) -> None:
    write_shard(Path(dataset), [shadow(8)], batch=2, started_at="2026-01-02T00:00:00Z")
    assert values(dataset, "SELECT count(*) FROM failures") == [(0,)]


def test_files_that_are_still_being_written_are_ignored(dataset: str) -> None:
    (Path(dataset) / "runs" / f".{9:016x}.17.tmp").write_bytes(b"half a file")
    assert values(dataset, "SELECT count(*) FROM runs") == [(3,)]


def test_a_shard_of_which_one_file_is_missing_does_not_count(dataset: str) -> None:
    shard_file(dataset, "ok", "runs").unlink()
    assert values(dataset, "SELECT count(*) FROM phases") == [(0,)]


def test_a_dataset_in_which_everything_failed_has_empty_phases(tmp_path: Path) -> None:
    write_shard(tmp_path, [shadow(2)], failed=True)
    assert values(str(tmp_path), "SELECT count(seconds) FROM phases") == [(0,)]


def test_a_dataset_can_be_named_by_its_uri(dataset: str) -> None:
    assert values(f"file://{dataset}", "SELECT count(*) FROM runs") == [(3,)]


def test_a_quote_in_the_path_is_no_problem(tmp_path: Path) -> None:
    write_shard(tmp_path / "it's", [shadow(2)])
    assert values(str(tmp_path / "it's"), "SELECT count(*) FROM runs") == [(1,)]


def test_an_unknown_column_is_answered_with_the_ones_that_come_close(dataset: str) -> None:
    message = error_of(dataset, "SELECT secnds FROM phases")
    assert message.startswith('SQL: Binder Error: Referenced column "secnds" not found')
    assert '"seconds"' in message


def test_an_unknown_table_is_answered_with_the_views(dataset: str) -> None:
    message = error_of(dataset, "SELECT * FROM results")
    assert message == "SQL: there is no table results; allowed: runs, phases, timeline, failures, origins, published"


def test_bad_syntax_is_one_line(dataset: str) -> None:
    assert 'syntax error at or near "SELEC"' in error_of(dataset, "SELEC 1")


@pytest.mark.parametrize(
    "sql",
    [
        "COPY runs TO 'elsewhere.csv'",
        "DROP VIEW runs",
        "SELECT 1; SELECT 2",
        "SET enable_external_access = true",
        "EXPLAIN ANALYZE COPY runs TO 'elsewhere.csv'",
        "",
    ],
)
def test_only_one_select_is_let_through(dataset: str, sql: str) -> None:
    assert "allowed: one SELECT over runs, phases, timeline, failures, origins, published" in error_of(dataset, sql)


def test_sql_reads_no_file_outside_the_dataset(dataset: str) -> None:
    assert "Cannot access file" in error_of(dataset, "SELECT * FROM read_text('/etc/hostname')")


def test_sql_writes_nothing_into_the_dataset(dataset: str) -> None:
    file = Path(dataset) / "runs" / "new.parquet"
    error_of(dataset, f"COPY (SELECT 1) TO '{file}'")
    assert not file.exists()


def test_sql_does_not_see_python_variables(dataset: str) -> None:
    secret = pyarrow.table({"column": [1]})
    assert "there is no table secret" in error_of(dataset, "SELECT * FROM secret")
    assert secret.num_rows == 1


def test_a_folder_that_does_not_exist_is_named(tmp_path: Path) -> None:
    assert error_of(str(tmp_path / "nowhere"), "SELECT 1").startswith(f"{tmp_path / 'nowhere'}: no such dataset")


def test_a_folder_without_results_says_how_to_get_some(tmp_path: Path) -> None:
    message = error_of(str(tmp_path), "SELECT 1")
    assert message == f"{tmp_path}: no results there yet; `splitsweep run SPEC --results {tmp_path}` makes some"


def test_a_filesystem_that_does_not_exist_is_named() -> None:
    assert error_of("ftp://host/data", "SELECT 1").startswith("results ftp://host/data: cannot be opened")


def test_a_broken_shard_is_named(dataset: str) -> None:
    file = shard_file(dataset, "failed", "runs")
    file.write_bytes(b"no parquet")
    message = error_of(dataset, "SELECT count(*) FROM runs")
    assert message == f"results {dataset}: shard {file.stem} is damaged; {CURE}"


RESULT = "SELECT vcpus, split, pml, vcpus / 8 AS share, guest_page AS page FROM runs ORDER BY vcpus LIMIT 2"


def test_table_aligns_numbers_to_the_right(dataset: str) -> None:
    assert list(result_text(query(dataset, RESULT), "table")) == [
        "vcpus  split  pml    share  page",
        "-----  -----  -----  -----  ----",
        "    2  eager  false   0.25  1G",
        "    4  eager  false    0.5  1G",
        "(2 rows)",
    ]


def test_csv_has_a_header_and_quotes_where_needed(dataset: str) -> None:
    assert list(
        result_text(query(dataset, "SELECT vcpus, pml, 'a, b' AS text, NULL AS none FROM runs WHERE vcpus = 2"), "csv")
    ) == [
        "vcpus,pml,text,none",
        '2,false,"a, b",',
    ]


def test_json_is_one_array_of_objects(dataset: str) -> None:
    found = json.loads("\n".join(result_text(query(dataset, RESULT), "json")))
    assert found[1] == {"vcpus": 4, "split": "eager", "pml": False, "share": 0.5, "page": "1G"}


def test_json_of_no_rows_is_an_empty_array(dataset: str) -> None:
    assert json.loads("\n".join(result_text(query(dataset, "SELECT 1 WHERE false"), "json"))) == []


def test_markdown_is_a_table_with_escaped_bars(dataset: str) -> None:
    assert list(
        result_text(query(dataset, "SELECT vcpus, 'a|b' AS text FROM runs ORDER BY ALL LIMIT 1"), "markdown")
    ) == [
        "| vcpus | text |",
        "| ---: | --- |",
        "| 2 | a\\|b |",
    ]


def test_parquet_reads_back(dataset: str) -> None:
    file = io.BytesIO()
    write_parquet(query(dataset, RESULT), file)
    assert pyarrow.parquet.read_table(file).column("share").to_pylist() == [0.25, 0.5]


def test_an_unknown_format_names_the_known_ones(dataset: str) -> None:
    with pytest.raises(
        QueryError, match="--format: 'xml' is not allowed; allowed: table, csv, json, markdown, parquet"
    ):
        list(result_text(query(dataset, "SELECT 1"), "xml"))


def test_one_open_dataset_answers_many_queries(dataset: str) -> None:
    with open_dataset(dataset) as connection:
        first = select(connection, "SELECT count(*) AS n FROM runs").to_pylist()
        second = select(connection, "SELECT count(*) AS n FROM phases").to_pylist()
    assert (first, second) == ([{"n": 3}], [{"n": 14}])


def test_numbers_of_a_phase_are_those_written(tmp_path: Path) -> None:
    write_shard(tmp_path, [shadow(2)], one_second)
    assert values(str(tmp_path), "SELECT sum(seconds) FROM phases") == [(7.0,)]


def test_a_column_that_was_renamed_is_told_by_its_new_name(dataset: str) -> None:
    with pytest.raises(QueryError, match="SQL: address_spaces is called guest_roots now"):
        query(dataset, "SELECT address_spaces FROM runs")


def test_shards_from_before_the_live_engine_are_read_beside_newer_ones(tmp_path: Path) -> None:
    write_shard(tmp_path, [shadow(2)])
    as_of_former_version(tmp_path, [*LIVE_FIELDS, "cpu_model", "label", "profile_digest"])
    asked = "SELECT vcpus, touch_memory, pin_vcpus, cpu_model, label, started_at FROM runs ORDER BY ALL"
    rest = (False, True, None, "", datetime(2026, 1, 1, tzinfo=UTC))
    assert values(str(tmp_path), asked) == [(2, *rest)]
    write_shard(tmp_path, [shadow(4)], batch=1)
    assert values(str(tmp_path), asked) == [(2, *rest), (4, *rest)]
    assert values(str(tmp_path), "SELECT DISTINCT guest_roots FROM phases") == [(1,)]
    columns = [column.name for column in RUN_COLUMNS]
    assert query(str(tmp_path), "SELECT * FROM runs").column_names == [*columns, "origin"]


@pytest.mark.parametrize(
    "sql",
    [
        "PIVOT runs ON mmu USING count(*)",
        "SELECT * FROM (PIVOT runs ON mmu USING count(*))",
        "SUMMARIZE runs",
        "EXPLAIN FROM runs",
    ],
)
def test_what_only_reads_is_let_through(dataset: str, sql: str) -> None:
    assert query(dataset, sql).num_rows > 0


def test_a_query_that_takes_too_long_ends_with_a_line(dataset: str) -> None:
    with (
        open_dataset(dataset) as connection,
        pytest.raises(QueryError, match=r"^SQL: not done after 0.2 s; ask for less"),
    ):
        select(connection, "SELECT count(*) FROM range(1000000000000) numbers(n) WHERE n % 7 = 3", seconds=0.2)


def test_a_former_name_is_answered_with_todays(dataset: str) -> None:
    assert error_of(dataset, "SELECT time_exit_s FROM phases") == "SQL: time_exit_s is called exit_seconds now"
