"""A sweep with running vCPUs, from the command line to the view `timeline`."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from sweep.cli import exit_code
from sweep.dataset.views import open_dataset

SPEC = """
name = "migration"
[fixed]
concurrent = true
vcpus = 2
mem_per_vcpu = "8MiB"
backing = "2M"
initially_all_set = false
iterations = 1
[[grid]]
mmu = ["shadow", "tdp"]
"""


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("timeline")
    (folder / "spec.toml").write_text(SPEC)
    location = str(folder / "dataset")
    assert exit_code(["run", str(folder / "spec.toml"), "--results", location, "--address", "inline"]) == 0
    return location


def test_every_ioctl_has_its_bins_in_the_view(dataset: str) -> None:
    with open_dataset(dataset) as views:
        counted = views.execute(
            "SELECT t.mmu, t.phase, sum(t.accesses), any_value(p.accesses), max(end_seconds) = any_value(p.seconds) "
            "FROM timeline t JOIN phases p USING (config_id, phase) GROUP BY ALL ORDER BY t.mmu, t.phase"
        ).fetchall()
    assert [(mmu, phase) for mmu, phase, *_ in counted] == [
        (mmu, phase) for mmu in ("shadow", "tdp") for phase in ("clear", "disable", "enable", "get")
    ]
    assert all(total - 2 <= binned <= total and whole for _, _, binned, total, whole in counted)


def test_the_bins_read_with_plain_pandas(dataset: str) -> None:
    phases = pd.read_parquet(Path(dataset) / "phases")
    assert phases["timeline"].notna().sum() == 8
    bins = pd.DataFrame(list(phases["timeline"].dropna().iloc[0]))
    assert list(bins) == ["bin", "start_seconds", "end_seconds", "accesses", "reads", "writes", "faults"]


def test_an_ordinary_run_has_no_timeline(tmp_path: Path) -> None:
    spec = tmp_path / "spec.toml"
    spec.write_text('name = "idle"\n[fixed]\nmem_per_vcpu = "2MiB"\n')
    assert exit_code(["run", str(spec), "--results", str(tmp_path / "dataset"), "--address", "inline"]) == 0
    with open_dataset(str(tmp_path / "dataset")) as views:
        assert views.execute("SELECT count(*) FROM timeline").fetchone() == (0,)
