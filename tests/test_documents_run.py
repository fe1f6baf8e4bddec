"""What the documents tell people to type runs, in their order: every splitsweep command of README.md and of docs/.

Each document has a folder of its own with the examples beside it, of which those that would take long have less memory.
docs/findings.md and docs/measuring.md have tests of their own, beside what they are about.
"""

from __future__ import annotations

import re
import shlex
import shutil
import sys
from pathlib import Path

import pytest

from core.compiled.cache import CACHE_FOLDER
from sweep.cli import exit_code

ROOT = Path(__file__).parents[1]

TAKEN_FOR_GRANTED = {
    "README.md": ["cover_letter"],  # `make demo` has run it
    "docs/dataset.md": ["cover_letter"],
    "docs/plots.md": [],
    "docs/nightly.md": [],
    "docs/concurrent.md": [],
}
"""The examples whose datasets a document speaks of before it says how to make them."""

QUICK = {
    "live.toml": 'name = "live"\n[fixed]\nengine = "live"\nmem_per_vcpu = "4MiB"\nbacking = "2M"\n',
    "findings/reads.toml": None,
    "findings/large_vm_memory.toml": None,
}
"""Examples that take long: the text of another one, or None for the same with 8 MiB per vCPU in 2M pages."""


def commands(document: str) -> list[list[str]]:
    """The splitsweep commands of a document, each with the lines that continue it."""
    text = (ROOT / document).read_text()
    found = re.findall(r"^    splitsweep .*(?:\n     +\S.*)*", text, re.MULTILINE)
    return [shlex.split(command, comments=True)[1:] for command in found]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where somebody types: with the examples, and neither a crontab nor systemd to change."""
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    for name, text in QUICK.items():
        example = tmp_path / "examples" / name
        smaller = re.sub(r"(?m)^(mem_per_vcpu = ).*$", r'\1"8MiB"', example.read_text())
        example.write_text(text or smaller.replace('backing = "1G"', 'backing = "2M"'))
    monkeypatch.chdir(tmp_path)
    for variable in ("HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.setenv(variable, str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(CACHE_FOLDER.parents[1]))  # compiled code is there already
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent))
    return tmp_path


@pytest.mark.parametrize("document", TAKEN_FOR_GRANTED)
def test_every_command_of_a_document_runs(document: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for example in TAKEN_FOR_GRANTED[document]:
        assert exit_code(["run", f"examples/{example}.toml", "--address", "inline"]) == 0
    for words in commands(document):
        if words[:2] == ["compare", "results/before"]:
            for name in ("before", "after"):
                assert exit_code(["run", "examples/nested.toml", "vcpus=2", "--results", f"results/{name}"]) == 0
        nights = sorted((folder / "history" / "live" / "nights").glob("*"))
        if words[0] == "compare" and nights:
            assert exit_code(["nightly", "examples/live.toml", "--history", "history/live"]) in (0, 1)
            nights = sorted((folder / "history" / "live" / "nights").glob("*"))
            words = ["compare", *map(str, nights)]
        code = exit_code(words)
        measured = words[0] in ("nightly", "compare") or words[:2] == ["schedule", "run"]  # and maybe worse than before
        assert code == 0 or (measured and code == 1), f"{shlex.join(words)}: {capsys.readouterr().err}"


def test_every_document_with_commands_is_run_somewhere() -> None:
    documents = ["README.md", *(f"docs/{path.name}" for path in sorted((ROOT / "docs").glob("*.md")))]
    with_commands = {document for document in documents if commands(document)}
    elsewhere = {"docs/findings.md", "docs/measuring.md"}
    # what these show needs a host to calibrate, a cluster, or minutes; their parts have tests of their own
    too_much = {"docs/live.md", "docs/cluster.md", "docs/model.md", "docs/reliability.md"}
    assert with_commands - elsewhere - too_much == set(TAKEN_FOR_GRANTED)
