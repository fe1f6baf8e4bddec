"""`python -m benchmarks [NAME ...] [--long] [--json FILE] [--update]`: run benchmarks and print their tables.

Everything together takes about ten minutes, a quarter of an hour with --long; the machine should have nothing else to
do.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from benchmarks.measure import Options
from benchmarks.report import Table, as_json, machine, machine_text, markdown, replace_between_marks

BENCHMARKS: Final = ("engine_speed", "scaling", "sweep_overhead", "many_configs", "query_time")
DOCUMENT: Final = Path(__file__).parent.parent / "docs" / "performance.md"


def main(arguments: Sequence[str]) -> int:
    """Run what the command line names; return the exit code."""
    parser = _parser()
    options = parser.parse_args(arguments)
    for name in options.name:
        if name not in BENCHMARKS:
            parser.error(f"{name!r} is no benchmark; allowed: {', '.join(BENCHMARKS)}")
    facts = machine()
    print(machine_text(facts) + "\n")
    found: dict[str, list[Table]] = {}
    for name in options.name or BENCHMARKS:
        print(f"{name} ...", file=sys.stderr, flush=True)
        start = time.monotonic()
        found[name] = _run(name, Options(long=options.long))
        print(f"{name}: {time.monotonic() - start:.0f} s", file=sys.stderr, flush=True)
        print("\n".join(markdown(table) for table in found[name]), flush=True)
        if options.update:
            _update_document(name, found[name], machine_text(facts))
    if options.json:
        benchmarks = {name: [as_json(table) for table in tables] for name, tables in found.items()}
        record = {"taken_at": datetime.now(UTC).isoformat(timespec="seconds"), **facts, "benchmarks": benchmarks}
        options.json.write_text(json.dumps(record, indent=1) + "\n")
    return 0


def _run(name: str, options: Options) -> list[Table]:
    tables: list[Table] = importlib.import_module(f"benchmarks.{name}").run(options)
    return tables


def _update_document(name: str, tables: Sequence[Table], taken: str) -> None:
    """Put a benchmark's tables into docs/performance.md in place of the former ones."""
    content = f"{taken}.\n\n" + "\n".join(markdown(table) for table in tables)
    DOCUMENT.write_text(replace_between_marks(DOCUMENT.read_text(), name, content))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure how fast splitsweep is.")
    parser.add_argument("name", nargs="*", metavar="NAME", help=f"{', '.join(BENCHMARKS)}; all if none is named")
    parser.add_argument("--long", action="store_true", help="also what takes minutes: 10,000 configs")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there with all their digits")
    parser.add_argument("--update", action="store_true", help="replace the tables in docs/performance.md")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
