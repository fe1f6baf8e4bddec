"""`splitsweep import`; the module has an underscore because `import` is a word of Python."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from sweep.evidence.selftest.imports import Imported


def import_(
    words: Annotated[
        list[str],
        typer.Argument(metavar="FILE ... [FIELD=V ...]", help="What the test printed (- for stdin), and the fields."),
    ],
    results: Annotated[str, typer.Option(metavar="DIR|URI", help="The dataset to add to.")] = "results/measured",
) -> None:
    """Read what dirty_log_perf_test printed on a real host into a dataset.

    A file may hold many runs. What the test does not print comes from FIELD=V words, from lines like
    `# vcpus=64 split=lazy` in the file, which hold for the runs after them and win, or from the test's command line
    if the file holds that too. Fields that nothing names take their defaults; the config of each run is printed. Runs
    that the dataset holds already are left alone.

    \b
    Example:
      splitsweep import eager.txt lazy.txt mmu=tdp backing=1G --results results/measured
    """
    from sweep.dataset.store import open_store
    from sweep.evidence.measurements import MeasurementError
    from sweep.evidence.selftest.imports import configured_runs, import_runs
    from sweep.evidence.selftest.text import is_field_word, read_field_word, read_selftest_text

    files = [word for word in words if not is_field_word(word)]
    if not files:
        raise MeasurementError("no file to import; give files with what dirty_log_perf_test printed, or - for stdin")
    stated: dict[str, object] = {}
    for word in words:
        if is_field_word(word):
            name, value = read_field_word(word)
            if name in stated:
                raise MeasurementError(f"{name}: given twice; name each field once")
            stated[name] = value
    store = open_store(results)
    texts = [read_selftest_text(_shown_name(file), _lines(file)) for file in files]
    outcomes = import_runs(store, [run for text in texts for run in configured_runs(text.runs, stated)])
    _print_summary(results, outcomes, sum(text.unknown_lines for text in texts))


def _shown_name(file: str) -> str:
    return "stdin" if file == "-" else file


def _lines(file: str) -> list[str]:
    """The lines of a file or of stdin; MeasurementError if it cannot be read or is no text."""
    from sweep.evidence.measurements import MeasurementError

    try:
        content = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
        return content.decode().splitlines()
    except FileNotFoundError:
        raise MeasurementError(f"{file}: no such file; give what dirty_log_perf_test printed, or - for stdin") from None
    except OSError as error:
        raise MeasurementError(f"{file}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise MeasurementError(f"{_shown_name(file)}: is no text; give what dirty_log_perf_test printed") from None


def _print_summary(results: str, outcomes: Sequence[Imported], unknown_lines: int) -> None:
    """A line for each run with the config it was taken for, then one with the counts."""
    from core.config import config_text

    for outcome in outcomes:
        there = "" if outcome.is_new else " (there already)"
        print(f"{outcome.run.place}: {config_text(outcome.config)}{there}")
        if outcome.run.command.unused:
            print(f"  note: options without a field, passed over: {' '.join(outcome.run.command.unused)}")
        if outcome.same_timings_as:
            print(f"  note: the dataset holds the same timings also as {outcome.same_timings_as}")
    new = sum(outcome.is_new for outcome in outcomes)
    held = f", {len(outcomes) - new} there already" if new < len(outcomes) else ""
    print(f"{results}: {_counted(new, 'run')} imported{held}; {_counted(unknown_lines, 'unknown line')} passed over")


def _counted(count: int, what: str) -> str:
    return f"{count:,} {what}" if count == 1 else f"{count:,} {what}s"
