"""A few hundred inputs to each reader; docs/reliability.md tells of a million."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, given, settings

from sweep.cli import exit_code
from sweep.errors import SpecError
from sweep.evidence.selftest.text import read_selftest_text
from sweep.spec.where import where_fields
from tests.fuzzing.targets import Target, feed, targets, watched
from tests.sweep.datasets import write_shard
from tests.sweep.engines import some_configs
from tests.sweep.evidence.selftest.outputs import ONE

COUNTS = {"spec": 100, "profile": 60, "import": 300, "words": 500, "where": 25, "query": 60}


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Target]]:
    folder = tmp_path_factory.mktemp("fuzzing")
    write_shard(folder / "dataset", some_configs(1, 2))
    with targets(folder, str(folder / "dataset")) as opened:
        yield opened


@pytest.mark.parametrize("name", COUNTS)
def test_spoilt_inputs_are_taken_or_refused_in_a_word(name: str, found: dict[str, Target]) -> None:
    came = [feed(found[name], seed) for seed in range(COUNTS[name])]
    assert {"taken", "refused"} == set(came)  # neither all good nor all bad


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(max_size=60))
@pytest.mark.parametrize("name", ["spec", "profile", "import", "words"])
def test_any_text_is_taken_or_refused_in_a_word(name: str, text: str, found: dict[str, Target]) -> None:
    _, read, allowed = found[name]
    assert feed(([text], read, allowed), 0) in ("taken", "refused")


def test_the_watch_sees_what_it_is_there_for(tmp_path: Path) -> None:
    for act in (lambda: pickle.loads(b"cos\ngetcwd\n(tR."), lambda: eval("1 + 1"), (tmp_path / "new").touch):
        with watched(), pytest.raises(AssertionError, match="an input made it do this"):
            act()


def test_a_size_of_thousands_of_digits_is_refused() -> None:
    with pytest.raises(SpecError, match="where: "):
        where_fields(f"mem_per_vcpu >= '{'9' * 5000}GiB'")


def test_a_seed_may_have_leading_zeros() -> None:
    (run,) = read_selftest_text("a.txt", f"Random seed: 01\n{ONE}").runs
    assert run.printed.preamble.seed == 1


def test_a_memory_that_starts_within_a_page_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    memory = "guest physical test memory offset: 0x7fbffff0\n"
    Path("cut.txt").write_text(ONE.replace("Iteration", f"{memory}Iteration", 1))
    assert exit_code(["import", "cut.txt", "mmu=tdp", "--results", "measured"]) == 2
    assert "where no page does; is a digit lost?" in capsys.readouterr().err
