"""What is fed with spoilt inputs, and how it may answer: with a result, or with an error of one line for the user.

Meanwhile nothing may be unpickled, evaluated, started, connected to or written. `python -m tests.fuzzing.targets N`
feeds N inputs to each target, from a seed on: `python -m tests.fuzzing.targets 200000 --seed 1`.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from core.costs.profile import load_profile
from core.errors import ConfigError, ProfileError
from core.kvm.errors import SelftestError
from sweep.dataset.query import result_text, select
from sweep.dataset.views import open_dataset
from sweep.errors import QueryError, SpecError, SweepError
from sweep.evidence.selftest.configs import configured_run
from sweep.evidence.selftest.lines import decoded
from sweep.evidence.selftest.said import Said, read_words
from sweep.evidence.selftest.text import read_selftest_text
from sweep.spec.configs import load_spec
from sweep.spec.where import rows_matching, where_fields
from tests.fuzzing.spoilt import spoilt

ROOT: Final = Path(__file__).parents[2]

Target = tuple[list[str], Callable[[str], object], tuple[type[Exception], ...]]
"""Good inputs, what reads one, and the errors that it may raise."""

_FORBIDDEN: Final = (
    "pickle.find_class",
    "os.system",
    "os.exec",
    "os.posix_spawn",
    "os.fork",
    "subprocess.Popen",
    "socket.connect",
)
_WRITES: Final = os.O_WRONLY | os.O_RDWR | os.O_CREAT

_watched = False


def _audit(event: str, arguments: tuple[object, ...]) -> None:
    if not _watched:
        return
    is_write = event == "open" and isinstance(arguments[2], int) and bool(arguments[2] & _WRITES)
    # imports execute code, and name its file; what is made up of a text has none
    is_evaluated = event == "exec" and getattr(arguments[0], "co_filename", "") == "<string>" and _evaluates()
    if event in _FORBIDDEN or is_write or is_evaluated:
        raise AssertionError(f"an input made it do this: {event} {arguments!r:.200}")


def _evaluates() -> bool:
    """Whether somebody else than the standard library, which makes its data classes so, evaluates a text."""
    frame = sys._getframe(2)
    return "dataclasses.py" not in frame.f_code.co_filename and "collections" not in frame.f_code.co_filename


sys.addaudithook(_audit)


@contextmanager
def watched() -> Iterator[None]:
    """Whoever unpickles, evaluates, starts, connects or writes meanwhile gets an AssertionError."""
    global _watched
    _watched = True
    try:
        yield
    finally:
        _watched = False


@contextmanager
def targets(folder: Path, dataset: str) -> Iterator[dict[str, Target]]:
    """All of them by name; files of theirs go into the folder, and questions to the dataset."""
    with ExitStack() as opened:
        connection = opened.enter_context(open_dataset(dataset))
        texts = {
            "spec": [file.read_text() for file in sorted((ROOT / "examples").glob("*.toml"))] + [_SAMPLE],
            "profile": [file.read_text() for file in sorted((ROOT / "core/costs/profiles").glob("*.toml"))],
            "import": [file.read_text() for file in sorted((ROOT / "tests/data").glob("dirty-log-perf-*.txt"))],
            "words": [*_WORDS],
            "where": [*_CONDITIONS],
            "query": [*_QUESTIONS],
        }
        yield {
            "spec": (texts["spec"], lambda text: load_spec(_file(folder / "spec.toml", text)), (SpecError,)),
            "profile": (
                texts["profile"],
                lambda text: load_profile.__wrapped__(str(_file(folder / "profile.toml", text))),
                (ProfileError,),
            ),
            "import": (texts["import"], _import, (SweepError,)),
            "words": (
                texts["words"],
                lambda text: read_words(text.split(), keeps_notes=False),
                (ConfigError, SelftestError, SweepError),
            ),
            "where": (texts["where"], _where, (SpecError,)),
            "query": (
                texts["query"],
                lambda text: list(result_text(select(connection, text, seconds=5), "json")),
                (QueryError,),
            ),
        }


def feed(target: Target, seed: int) -> str:
    """One input to a target: what came of it. AssertionError, with the input, for what must not be."""
    seeds, read, allowed = target
    text = spoilt(seeds, seed)
    try:
        with watched():
            read(text)
    except allowed as error:
        said = str(error)
        assert said, f"seed {seed}: an error without a word"
        return "refused"
    except Exception as error:
        raise AssertionError(f"seed {seed}: {type(error).__name__}: {error!s:.300}: {text!r:.2000}") from error
    return "taken"


def _file(path: Path, text: str) -> Path:
    global _watched
    _watched = False
    path.write_text(text, encoding="utf-8", errors="surrogatepass", newline="")
    _watched = True
    return path


def _import(text: str) -> object:
    words = Said()
    found = read_selftest_text("a.txt", decoded(text.encode(errors="surrogatepass"), "a.txt"))
    return [configured_run(run, words, "a.txt", datetime(2026, 1, 1, tzinfo=UTC)) for run in found.runs]


def _where(text: str) -> list[bool]:
    names = where_fields(text)
    example = {"mmu": "tdp", "vcpus": 2, "split": "lazy", "mem_per_vcpu": 2**30}
    values = {name: [example.get(name)] for name in names}
    return rows_matching(text, values)


_SAMPLE: Final = """name = "drawn"
where = "NOT (mmu = 'tdp' AND vcpus > 8)"
[fixed]
mem_per_vcpu = "64MiB"
[sample]
n = 4
method = "random"
seed = 1
[sample.ranges]
vcpus = { low = 2, high = 16, log = true }
mmu = ["tdp", "shadow"]
"""

_WORDS: Final = (
    "mmu=tdp backing=1G vcpus=2,4",
    "-i 2 -v 64 -b 1GiB -s anonymous_hugetlb_1gb",
    "kernel=6.1 label=a:b@c",
)

_CONDITIONS: Final = (
    "mmu = 'tdp' AND vcpus <= 64",
    "mem_per_vcpu >= '1GiB' OR NOT (split = 'lazy')",
    "vcpus BETWEEN 2 AND 8 AND write_percent IN (5, 100)",
    "CASE WHEN pml THEN vcpus ELSE slots END > log2(greatest(vcpus, 2)) ** 2",
    "split LIKE 'e%' AND vcpus & 1 = 0 AND guest_page IS NULL",
)

_QUESTIONS: Final = (
    "SELECT vcpus, split, median(seconds) FROM phases WHERE phase = 'dirty' GROUP BY ALL ORDER BY 1",
    "SELECT * FROM runs WHERE status = 'ok' LIMIT 3",
    "WITH worst AS (SELECT max(seconds) AS s FROM phases) SELECT phase FROM phases, worst WHERE seconds = s",
    "PIVOT phases ON split USING avg(seconds) GROUP BY vcpus",
    "SELECT r.config_id, p.phase, p.seconds FROM runs r JOIN phases p USING (config_id) WHERE r.vcpus > 1",
    "DESCRIBE phases",
    "SELECT origin, configs FROM origins UNION ALL SELECT source, vcpus FROM published",
)


def main() -> None:
    """Feed so many inputs to each target, and say what came of them."""
    from tests.sweep.datasets import write_shard
    from tests.sweep.engines import some_configs

    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("count", type=int)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", nargs="*")
    words = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        write_shard(Path(folder, "dataset"), some_configs(1, 2))
        with targets(Path(folder), f"{folder}/dataset") as found:
            for name, target in found.items():
                if words.only and name not in words.only:
                    continue
                start, came = time.process_time(), {"taken": 0, "refused": 0}
                for seed in range(words.seed, words.seed + words.count):
                    try:
                        came[feed(target, seed)] += 1
                    except AssertionError as error:
                        print(f"{name}: {error}", flush=True)
                print(f"{name}: {words.count:,} inputs, {came}, {time.process_time() - start:.0f} s of CPU", flush=True)


if __name__ == "__main__":
    main()
