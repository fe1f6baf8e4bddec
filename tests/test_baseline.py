"""No prediction of the published sweep changes unseen: it is compared with what was committed, number by number.

Where a change is meant, `make baseline` renews tests/data/baseline, and the commit says why.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from sweep.cli import exit_code

ROOT = Path(__file__).parents[1]
BASELINE = ROOT / "tests" / "data" / "baseline"


def test_the_published_sweep_predicts_what_was_committed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results = str(tmp_path / "results")
    assert exit_code(["run", str(ROOT / "examples" / "cover_letter.toml"), "--results", results]) == 0
    code = exit_code(["compare", str(BASELINE), results])
    assert code == 0, f"{capsys.readouterr().out}\nIf this is meant: make baseline, and commit what it leaves."
