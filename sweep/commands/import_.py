"""`splitsweep import`; the module has an underscore because `import` is a word of Python."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

if TYPE_CHECKING:
    from sweep.evidence.selftest.imports import Imported
    from sweep.evidence.selftest.said import Said
    from sweep.evidence.selftest.text import SelftestText

SKIPPED_SHOWN: Final = 5


def import_(
    words: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE ... [NAME=V ...]", help="What the test printed (- for stdin), and what it ran on."
        ),
    ],
    results: Annotated[str, typer.Option(metavar="DIR|URI", help="The dataset to add to.")] = "results/measured",
    label: Annotated[
        str | None, typer.Option(metavar="WORD", help="A name for these runs: others are never averaged with them.")
    ] = None,
) -> None:
    """Read what dirty_log_perf_test printed on a real host into a dataset.

    A file may hold many runs, bare or with what logs, consoles and mails put in front of each line. What the test does
    not print comes from words: fields (vcpus=64), module parameters (tdp_mmu=N), host=NAME, kernel=RELEASE. They are
    given here, or in lines like `# vcpus=64 tdp_mmu=N` in the file, which hold for the runs after them and win; the
    test's command line, `modprobe` and `echo N > .../eager_page_split` count as well. The config of each run is
    printed: fields that nothing decides have their defaults, and what cannot be left to those is asked for. Runs that
    the dataset holds already are left alone.

    \b
    Example:
      splitsweep import eager.txt lazy.txt mmu=tdp backing=1G --results results/measured
    """
    from sweep.dataset.store import open_store
    from sweep.evidence.measurements import MeasurementError
    from sweep.evidence.selftest.configs import configured_run
    from sweep.evidence.selftest.imports import import_runs
    from sweep.evidence.selftest.said import is_word
    from sweep.evidence.selftest.text import read_selftest_text

    files = [word for word in words if not is_word(word) or Path(word).exists()]
    if not files:
        raise MeasurementError("no file to import; give files with what dirty_log_perf_test printed, or - for stdin")
    stated = _stated([word for word in words if word not in files] + ([] if label is None else [f"label={label}"]))
    store = open_store(results)
    texts: list[SelftestText] = []
    runs = []
    for file in files:
        name = "stdin" if file == "-" else file
        content, written_at = _content(file)
        texts.append(read_selftest_text(name, content))
        runs += [configured_run(run, stated, name, written_at) for run in texts[-1].runs]
    outcomes, warnings = import_runs(store, runs)
    _print_runs(outcomes)
    for name, text in zip(files, texts, strict=True):
        _print_skipped("stdin" if name == "-" else name, text)
    for warning in warnings:
        print(f"warning: {warning}")
    new = sum(outcome.is_new for outcome in outcomes)
    held = f", {len(outcomes) - new} there already" if new < len(outcomes) else ""
    skipped = sum(len(text.skipped) for text in texts)
    print(f"{results}: {_counted(new, 'run')} imported{held}; {_counted(skipped, 'unknown line')} passed over")


def _stated(words: Sequence[str]) -> Said:
    """What the words of the command line say about all runs; MeasurementError if one is bad, or names a thing twice."""
    from core.errors import ConfigError
    from core.kvm.errors import SelftestError
    from sweep.evidence.measurements import MeasurementError
    from sweep.evidence.selftest.said import read_words

    names = [word.partition("=")[0] for word in words]
    for name in names:
        if names.count(name) > 1:
            raise MeasurementError(f"{name}: given twice; name each field once")
    try:
        return read_words(words, keeps_notes=False)
    except (ConfigError, SelftestError) as error:
        raise MeasurementError(str(error)) from None


def _content(file: str) -> tuple[str, datetime]:
    """The text of a file or of stdin, and when it was written; MeasurementError if it cannot be read or is no text."""
    from sweep.evidence.measurements import MeasurementError
    from sweep.evidence.selftest.lines import decoded

    try:
        if file == "-":
            return decoded(sys.stdin.buffer.read(), "stdin"), datetime.now(UTC)
        written_at = datetime.fromtimestamp(Path(file).stat().st_mtime, UTC)
        return decoded(Path(file).read_bytes(), file), written_at
    except FileNotFoundError:
        raise MeasurementError(f"{file}: no such file; give what dirty_log_perf_test printed, or - for stdin") from None
    except OSError as error:
        raise MeasurementError(f"{file}: cannot be read: {error.strerror}") from None


def _print_runs(outcomes: Sequence[Imported]) -> None:
    """A line for each run with the config it was taken for, and what to know about it."""
    from core.config import config_text

    said: set[str] = set()  # a note that holds for all runs of a file is told once
    for outcome in outcomes:
        run = outcome.run
        origin = "".join(f" {name}={value}" for name, value in (("host", run.host),) if value)
        release = f" kernel_release={run.kernel_release}" if run.kernel_release else ""
        there = "" if outcome.is_new else " (there already)"
        print(f"{run.place}: {config_text(outcome.config)}{origin}{release}{there}")
        for note in run.notes:
            if note not in said:
                print(f"  {note}" if note.startswith("warning") else f"  note: {note}")
        said.update(run.notes)
        if outcome.same_timings_as:
            print(f"  note: the dataset holds the same timings also as {outcome.same_timings_as}")


def _print_skipped(name: str, text: SelftestText) -> None:
    """The lines that were passed over, the first of them in full, and how many were freed of a prefix."""
    if text.prefixed:
        print(f"{name}: what stood in front of {_counted(text.prefixed, 'line')} of the test was taken away")
    for line in text.skipped[:SKIPPED_SHOWN]:
        print(f"{name}:{line.number}: passed over: {line.text[:100]}")
    if len(text.skipped) > SKIPPED_SHOWN:
        print(f"{name}: and {len(text.skipped) - SKIPPED_SHOWN:,} more lines passed over")


def _counted(count: int, what: str) -> str:
    return f"{count:,} {what}" if count == 1 else f"{count:,} {what}s"
