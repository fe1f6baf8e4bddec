"""Mistakes in specs and on the command line: one line with the place and the remedy, exit code 2, nothing written."""

import os
from dataclasses import dataclass
from pathlib import Path

import pytest

from sweep.cli import exit_code

GOOD_GRID = "[[grid]]\nvcpus = [2, 4]\n"


@dataclass(frozen=True)
class Mistake:
    """A spec (or none), the words after `run`, and what the message must say."""

    label: str
    says: tuple[str, ...]
    spec: str | bytes | None = 'name = "test"\n[fixed]\nvcpus = 2\n'
    words: tuple[str, ...] = ("sweep.toml",)


def body(label: str, text: str, *says: str) -> Mistake:
    """A mistake in the tables of a spec."""
    return Mistake(label, ("sweep.toml: ", *says), 'name = "test"\n' + text)


def words(label: str, line: str, *says: str) -> Mistake:
    """A mistake on the command line, with a good spec."""
    return Mistake(label, says, words=tuple(line.split(" ")))


MISTAKES = [
    # the file
    Mistake("missing-file", ("other.toml: no such file", "examples/"), words=("other.toml",)),
    Mistake("endless-file-name", ("cannot be read: File name too long",), words=("x" * 300,)),
    Mistake("directory", ("folder: is a directory", "the spec file itself"), words=("folder",)),
    Mistake("without-an-end", ("/dev/zero: longer than 16 MiB",), words=("/dev/zero",)),
    Mistake("binary", ("sweep.toml: not a text file", "TOML in UTF-8"), b"\x7fELF\x02\x01\xff\xfe"),
    Mistake("not-toml", ("sweep.toml: not TOML", "line 2"), 'name = "test"\nvcpus: [2, 4]\n'),
    Mistake("key-twice", ("sweep.toml: not TOML", "line 4"), 'name = "test"\n[fixed]\nvcpus = 2\nvcpus = 4\n'),
    Mistake("absurd-number", ("sweep.toml: not TOML",), 'name = "test"\n[fixed]\nvcpus = ' + "9" * 5000),
    Mistake("nested-beyond-reason", ("sweep.toml: not TOML",), "name = " + "[" * 5000),
    Mistake("empty-file", ("sweep.toml: nothing to run", "[fixed], [[grid]] or [sample]"), ""),
    # the top of the file
    body("nothing-to-run", "", "nothing to run", "add a [fixed], [[grid]] or [sample] table"),
    body("unknown-key", 'wher = "vcpus > 2"\n' + GOOD_GRID, "wher: no such key", "allowed: name, where, fixed"),
    body("field-at-the-top", "vcpus = 2\n" + GOOD_GRID, "vcpus: no such key", "fields go into [fixed] or [[grid]]"),
    Mistake("no-name", ("sweep.toml: name: missing", 'add a line like name = "'), GOOD_GRID),
    Mistake("name-with-slash", ("sweep.toml: name: 'a/b'", "allowed: letters"), 'name = "a/b"\n' + GOOD_GRID),
    Mistake("name-of-dots", ("sweep.toml: name: '..'", "allowed: letters"), 'name = ".."\n' + GOOD_GRID),
    Mistake("name-is-a-number", ("sweep.toml: name: 7", "allowed: letters"), "name = 7\n" + GOOD_GRID),
    body("single-brackets", "[grid]\nvcpus = [2, 4]", "grid: ", "write [[grid]], with two brackets"),
    body("fixed-is-no-table", "fixed = 2", "[fixed]: 2 is not a table", "write [fixed]"),
    body("name-below-a-table", GOOD_GRID + 'where = "vcpus > 2"', "[[grid]] 1: where", "move it above the first table"),
    body(
        "grid-and-sample",
        GOOD_GRID + '[sample]\nn = 2\nmethod = "random"\nranges = { vcpus = [2] }',
        "[sample] stands instead of [[grid]]",
        "keep one of them",
    ),
    # values
    body("unknown-field", "[[grid]]\nvcpu = [2, 4]", "[[grid]] 1: vcpu: no such field", "allowed: vcpus, "),
    body("old-name", "[fixed]\naddress_spaces = 2", "[fixed]: address_spaces: this field is called guest_roots now"),
    words(
        "old-name-override",
        "sweep.toml address_spaces=2",
        "override address_spaces=2: this field is called guest_roots now",
    ),
    body("unknown-fixed-field", "[fixed]\nmemory = 2", "[fixed]: memory: no such field", "allowed: vcpus, "),
    body("number-as-text", '[fixed]\nvcpus = "2"', "[fixed]: vcpus: '2' is not a whole number"),
    body("number-with-fraction", "[fixed]\nvcpus = 2.5", "[fixed]: vcpus: 2.5 is not a whole number"),
    body("truth-as-number", "[fixed]\nvcpus = true", "[fixed]: vcpus: true is not a whole number"),
    body("number-as-truth", "[fixed]\npml = 1", "[fixed]: pml: 1 is not allowed", "allowed: true, false"),
    body("zero-vcpus", "[[grid]]\nvcpus = [0, 2]", "[[grid]] 1: vcpus: 0 is out of range", "allowed: 1 to 4096"),
    body("too-many-vcpus", "[fixed]\nvcpus = 5000", "vcpus: 5000 is out of range", "allowed: 1 to 4096"),
    body("percent-over-100", "[fixed]\nwrite_percent = 101", "write_percent: 101 is out of range", "allowed: 0 to 100"),
    body("unknown-choice", '[fixed]\nmmu = "ept"', "[fixed]: mmu: 'ept'", "allowed: tdp, legacy_tdp, shadow, nested"),
    body("wrong-case", '[fixed]\nsplit = "Eager"', "split: 'Eager'", "allowed: eager, lazy, fault"),
    body("list-in-a-list", "[[grid]]\nvcpus = [[2], 4]", "[[grid]] 1: vcpus: [2] is not a whole number"),
    body("table-as-value", "[fixed]\nvcpus = { low = 2 }", "[fixed]: vcpus: {'low': 2}", "not a whole number"),
    body("size-no-page-multiple", "[fixed]\nmem_per_vcpu = 1000", "mem_per_vcpu: 1000 bytes", "allowed: 4KiB"),
    body("size-negative", "[fixed]\nmem_per_vcpu = -4096", "mem_per_vcpu: -4096 bytes", "allowed: 4KiB"),
    body("size-misspelt", '[fixed]\nmem_per_vcpu = "1PB"', "mem_per_vcpu: '1PB' is not a size", "write it like 64MiB"),
    body(
        "size-no-huge-page-multiple",
        '[fixed]\nbacking = "1G"\nmem_per_vcpu = "1536MiB"',
        "[fixed]: mem_per_vcpu: ",
        "allowed: vcpus x mem_per_vcpu a multiple of 1GiB",
    ),
    body("size-beyond-all", '[fixed]\nvcpus = 4096\nmem_per_vcpu = "1TiB"', "mem_per_vcpu: ", "is over 64TiB"),
    body(
        "total-not-divided", '[fixed]\nvcpus = 3\nmem_total = "1GiB"', "[fixed]: mem_total: 1GiB", "multiple of 12KiB"
    ),
    body("total-misspelt", '[fixed]\nmem_total = "1PB"', "[fixed]: mem_total: '1PB' is not a size", "write it like"),
    body(
        "two-sizes",
        '[fixed]\nmem_per_vcpu = "1GiB"\n[[grid]]\nmem_total = ["2GiB"]\nvcpus = [2]',
        "[[grid]] 1: mem_per_vcpu and mem_total say the same in two ways",
    ),
    body(
        "two-fixed-sizes", '[fixed]\nmem_per_vcpu = "1GiB"\nmem_total = "1GiB"', "mem_total: mem_per_vcpu is given too"
    ),
    body("unknown-profile", '[fixed]\nprofile = "no-such-host"', "sweep.toml: profile: no profile 'no-such-host'"),
    # combinations
    body(
        "all-set-without-manual-protect",
        "[fixed]\ninitially_all_set = true\nmanual_protect = false",
        "[fixed]: initially_all_set: true needs manual_protect = true",
    ),
    body(
        "granularity-2m-of-4k-pages",
        '[[grid]]\nbacking = ["2M", "4K"]\ngranularity = "2M"',
        "[[grid]] 1: granularity: 2M needs 2M or 1G leaves",
        "in the point backing=4K granularity=2M",
    ),
    body(
        "concurrent", "[fixed]\nconcurrent = true", "[fixed]: concurrent: true needs huge pages", "allowed there: false"
    ),
    # grids
    body("empty-grid", "[[grid]]", "[[grid]] 1: the grid is empty", "give it a field"),
    body("empty-list", "[[grid]]\nvcpus = []", "[[grid]] 1: vcpus: the list is empty", "give at least one value"),
    body("value-twice", "[[grid]]\nvcpus = [2, 4, 2]", "[[grid]] 1: vcpus: 2 is there twice", "name each value once"),
    body("size-twice", '[[grid]]\nmem_per_vcpu = ["1GiB", "1024MiB"]', "mem_per_vcpu: 1GiB is there twice"),
    body("point-twice", GOOD_GRID + "[[grid]]\nvcpus = [4, 8]", "[[grid]] 2: the point vcpus=4 is in [[grid]] 1 too"),
    body(
        "default-point-twice",
        GOOD_GRID + '[[grid]]\nvcpus = 4\nmmu = "tdp"',
        "the point vcpus=4 mmu=tdp is in [[grid]] 1",
    ),
    body("list-in-fixed", "[fixed]\nvcpus = [2, 4]", "[fixed]: vcpus: [2, 4] is a list", "lists go into [[grid]]"),
    body(
        "fixed-and-grid", "[fixed]\nvcpus = 2\n" + GOOD_GRID, "[[grid]] 1: vcpus is in [fixed] too", "keep one of them"
    ),
    body(
        "too-many-points",
        "[[grid]]\n"
        + "\n".join(f"{name} = {list(range(1, 101))}" for name in ("vcpus", "slots", "seed", "iterations")),
        "100,000,000 points are too many",
        "shorten the lists or use [sample]",
    ),
    # samples
    body(
        "sample-without-n",
        '[sample]\nmethod = "random"\nranges = { vcpus = [2] }',
        "[sample]: n: nothing",
        "whole number",
    ),
    body(
        "unknown-method",
        '[sample]\nn = 2\nmethod = "halton"\nranges = { vcpus = [2] }',
        "method: 'halton'",
        "sobol, latin",
    ),
    body(
        "sample-without-ranges",
        '[sample]\nn = 2\nmethod = "random"',
        "[sample]: ranges: missing",
        "add a [sample.ranges]",
    ),
    body(
        "field-beside-ranges",
        '[sample]\nn = 2\nmethod = "random"\nvcpus = [2]',
        "[sample]: vcpus: no such key",
        "fields go into [sample.ranges]",
    ),
    body(
        "range-backwards",
        '[sample]\nn = 2\nmethod = "random"\nranges = { vcpus = { low = 8, high = 2 } }',
        "[sample]: ranges: vcpus: low = 8 is not below high = 2",
        "swap or widen them",
    ),
    # where
    body(
        "where-reads-a-file",
        "where = \"read_text('secret') = 'x' OR pml\"\n" + GOOD_GRID,
        "where: ",
        "read_text() is not",
    ),
    body(
        "where-selects-a-file",
        "where = \"vcpus IN (FROM 'secret')\"\n" + GOOD_GRID,
        "where: no subquery",
        "allowed: one",
    ),
    body(
        "where-subquery",
        'where = "vcpus > (SELECT 2)"\n' + GOOD_GRID,
        "where: no subquery here",
        "allowed: one expression",
    ),
    body("where-statement", 'where = "pml; DROP TABLE fields"\n' + GOOD_GRID, "where: ", "write a condition like"),
    body("where-unknown-column", 'where = "vcpu > 2"\n' + GOOD_GRID, "where: no field vcpu", "fields: vcpus, "),
    body(
        "where-double-quotes",
        "where = 'mmu = \"tdp\"'\n" + GOOD_GRID,
        "where: no field tdp",
        "texts go in single quotes",
    ),
    body("where-not-boolean", 'where = "vcpus + 1"\n' + GOOD_GRID, "neither true nor false", "write a condition like"),
    body("where-wrong-type", "where = \"vcpus > 'many'\"\n" + GOOD_GRID, "where: ", "Could not convert string 'many'"),
    body("where-broken", 'where = "vcpus >"\n' + GOOD_GRID, "where: syntax error", "write a condition like"),
    body("where-empty", 'where = ""\n' + GOOD_GRID, "where: empty; write a condition like"),
    body("where-no-text", "where = true\n" + GOOD_GRID, "where: True is not allowed", "allowed: SQL in a text"),
    body("where-leaves-nothing", 'where = "vcpus > 4"\n' + GOOD_GRID, "where: none of the 2 points is left", "widen"),
    # the command line
    Mistake("no-spec", ("Missing argument 'SPEC'", "--help"), words=()),
    words("unknown-option", "sweep.toml --parallel", "No such option", "--parallel", "--help"),
    words("option-without-value", "sweep.toml --results", "--results", "--help"),
    words("no-override", "sweep.toml vcpus", "'vcpus' is no override", "FIELD=VALUE"),
    words("override-without-value", "sweep.toml vcpus=", "'vcpus=' is no override", "FIELD=VALUE"),
    words("override-unknown-field", "sweep.toml vcpu=2", "override vcpu=2: no such field", "allowed: vcpus, "),
    words("override-bad-value", "sweep.toml vcpus=2,x", "override vcpus=2,x: 'x' is not a whole number"),
    words(
        "override-out-of-range",
        "sweep.toml vcpus=0",
        "override vcpus=0: 0 is out of range",
        "allowed: 1 to 4096",
    ),
    words("override-value-twice", "sweep.toml vcpus=2,2", "override vcpus=2,2: 2 is there twice"),
    words(
        "override-twice", "sweep.toml vcpus=2 vcpus=4", "vcpus is overridden twice", "write its values as vcpus=V1,V2"
    ),
    words("two-size-overrides", "sweep.toml mem_per_vcpu=1GiB mem_total=2GiB", "overrides: mem_per_vcpu and mem_total"),
    words("bad-address", "sweep.toml --address cloud", "address 'cloud' is not allowed", "allowed: pool, local, auto"),
    words("results-is-a-file", "sweep.toml --results secret", "secret", "is a file"),
    words("results-below-a-file", "sweep.toml --results secret/deeper", "secret"),
    words("results-unknown-scheme", "sweep.toml --results ftp://host/folder", "ftp://host/folder"),
    words("results-over-a-spec", "sweep.toml --results mine", "results mine: holds no dataset but other files"),
    words(
        "fresh-over-a-spec",
        "sweep.toml --results mine --fresh",
        "results mine: holds no dataset that --fresh could delete",
    ),
    words("fresh-on-foreign-folder", "sweep.toml --results folder --fresh", "results folder: holds no dataset"),
]


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with things that must stay as they are."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "thesis.txt").write_text("years of work")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "spec.toml").write_text("# carefully written")
    (tmp_path / "secret").write_text("x")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def contents(folder: Path) -> dict[str, bytes]:
    """Every path below the folder with its bytes."""
    paths = [Path(parent, name) for parent, folders, files in os.walk(folder) for name in (*folders, *files)]
    return {str(path): path.read_bytes() if path.is_file() else b"" for path in paths}


def test_no_two_mistakes_are_the_same() -> None:
    assert len({(mistake.spec, mistake.words) for mistake in MISTAKES}) == len(MISTAKES)


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.label)
def test_a_mistake_is_one_line_and_exit_code_2_and_writes_nothing(
    mistake: Mistake, workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if mistake.spec is not None:
        text = mistake.spec.encode() if isinstance(mistake.spec, str) else mistake.spec
        (workplace / "sweep.toml").write_bytes(text)
    before = contents(workplace)

    code = exit_code(["run", *mistake.words])

    printed = capsys.readouterr()
    assert code == 2
    assert printed.err.startswith("splitsweep: ")
    assert printed.err.count("\n") == 1
    assert printed.err.endswith("\n")
    for part in mistake.says:
        assert part in printed.err
    assert printed.out == ""
    assert contents(workplace) == before


def test_eager_split_of_4k_pages_is_allowed_and_said_to_do_nothing(
    workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (workplace / "sweep.toml").write_text('name = "test"\n[fixed]\nsplit = "eager"\nbacking = "4K"\n')
    assert exit_code(["run", "sweep.toml", "--dry-run"]) == 0
    assert "split = eager does nothing here: leaves are 4K or smaller already" in capsys.readouterr().out
