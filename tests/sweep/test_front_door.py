"""`from sweep import load, run`: pandas frames for notebooks."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pandas
import pytest

from core.config import Config
from sweep import load
from sweep.dataset.schema_text import schema_text
from sweep.errors import QueryError
from tests.sweep.datasets import write_shard

ROOT = Path(__file__).parent.parent.parent
TYPES = {
    "iteration": "Int64",
    "faults": "Int64",
    "vcpus": "int64",
    "pml": "bool",
    "seconds": "float64",
    "phase": "category",
    "mmu": "category",
    "started_at": "datetime64[us, UTC]",
}


def test_whole_numbers_stay_whole_and_texts_out_of_few_are_categories_for_plain_pandas(tmp_path: Path) -> None:
    write_shard(tmp_path, [Config()])
    frame = pandas.read_parquet(tmp_path / "phases")
    assert {name: str(frame.dtypes[name]) for name in TYPES} == TYPES
    assert sorted(frame["iteration"].dropna().unique()) == [1, 2]
    assert frame["iteration"].isna().sum() == 4


def test_a_frame_has_the_same_types_and_the_origin(tmp_path: Path) -> None:
    write_shard(tmp_path, [Config()])
    frame = load(str(tmp_path), where="phase = 'dirty'")
    assert {name: str(frame.dtypes[name]) for name in TYPES} == TYPES
    assert list(frame["iteration"]) == [1, 2]
    assert set(frame["origin"]) == {Config().profile}


def test_another_table_than_those_is_refused(tmp_path: Path) -> None:
    write_shard(tmp_path, [Config()])
    assert list(load(str(tmp_path), "failures").index) == []
    with pytest.raises(QueryError, match=r"^table: 'rows' is not allowed; allowed: runs, phases"):
        load(str(tmp_path), "rows")


def test_importing_the_front_door_is_cheap() -> None:
    program = "import sys, sweep; print({'pandas', 'pyarrow', 'numba', 'duckdb'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout == "set()\n"


def test_the_example_of_the_document_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (program,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "dataset.md").read_text(), re.DOTALL)
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    monkeypatch.chdir(tmp_path)
    small = (
        program.replace("vcpus=1,2", "vcpus=1")
        .replace("64MiB", "2MiB")
        .replace("results=", 'address="inline", results=')
    )
    exec(small, {})
    printed = capsys.readouterr().out
    assert "eager" in printed
    assert "profile_digest" in printed


def test_the_document_of_the_schema_is_what_the_command_prints() -> None:
    assert (ROOT / "docs" / "schema.md").read_text() == "\n".join(schema_text()) + "\n"
