"""Sweeps of very many configs: planning a million, and status and resume where a hundred thousand are done.

Each is the command as typed, with its CPU time (of all its threads) and the most memory it had. The dataset is written
by the store, with rows of one simulated config under the name of each: running them would take minutes and change
nothing here. The same dataset is asked on an object store, a server of its own on loopback.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from benchmarks.measure import Options, note, spread
from benchmarks.object_server import new_bucket, object_server
from benchmarks.report import Cell, Table
from core.config import make_config
from core.run import run_config

ROUNDS: Final = 3

SMALL: Final = 'name = "{name}"\n[fixed]\nmem_per_vcpu = "64MiB"\naccess_order = "random"\n[[grid]]\n'

GRIDS: Final[dict[str, dict[str, Sequence[int]]]] = {
    "100 write percentages x 10,000 repeats": {"write_percent": range(1, 101), "repeat": range(10_000)},
    "4 vCPU counts x 250,000 seeds": {"vcpus": (1, 2, 4, 8), "seed": range(1, 250_001)},
    "100 vCPU counts x 100 write percentages x 100 iterations": {
        "vcpus": range(1, 101),
        "write_percent": range(1, 101),
        "iterations": range(1, 101),
    },
}
DONE: Final[dict[str, Sequence[int]]] = {"write_percent": range(1, 101), "repeat": range(1_000)}

_PROGRAM: Final = """
import sys
from sweep.cli import exit_code
code = exit_code(sys.argv[1:])
[peak] = [line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM:")]
print(peak, file=sys.stderr)
sys.exit(code)
"""
"""A command, and the most memory it had, in KiB. What its parent is told would count in what the parent had."""

QUESTION: Final = "SELECT write_percent, phase, median(seconds), max(stall_max_ns) FROM phases GROUP BY ALL"


def run(options: Options) -> list[Table]:
    """Plan, then write the dataset and ask about it."""
    with tempfile.TemporaryDirectory() as folder:
        planned: list[tuple[Cell, ...]] = []
        for name, axes in GRIDS.items():
            spec = _spec(Path(folder, "plan.toml"), axes)
            planned.append((name, *_taken("run", str(spec), "--results", f"{folder}/none", "--dry-run")))
        spec = _spec(Path(folder, "done.toml"), DONE)
        dataset = f"{folder}/dataset"
        _write_dataset(spec, dataset)
        asked: list[tuple[Cell, ...]] = [
            ("status", *_taken("status", dataset)),
            ("run, with nothing left to do", *_taken("run", str(spec), "--results", dataset)),
            ("query over all phases", *_taken("query", dataset, QUESTION)),
        ]
        with object_server() as server:
            uri = new_bucket(server, "bench").format("dataset")
            _copy(dataset, uri)
            asked.append(("status, on an object store", *_taken("status", uri)))
            asked.append(("query over all phases, on an object store", *_taken("query", uri, QUESTION)))
        asked.append(("compact", *_taken("compact", dataset)))
    columns = ("CPU seconds", "seconds", "MiB")
    return [
        Table("A million configs planned: `run --dry-run` as typed", ("grid", *columns), planned),
        Table("100,000 configs done, 1,000,000 phase rows", ("command", *columns), asked),
    ]


def _spec(file: Path, axes: Mapping[str, Sequence[int]]) -> Path:
    lines = (f"{name} = {list(values)}\n" for name, values in axes.items())
    file.write_text(SMALL.format(name=file.stem) + "".join(lines))
    return file


def _taken(*words: str) -> tuple[Cell, ...]:
    """CPU seconds, seconds and MiB of a command, as often as it is affordable."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    cpu, wall, memory = [], [], []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, "-c", _PROGRAM, *words],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env=environment,
            text=True,
        )
        assert process.stderr is not None
        said = process.stderr.read().splitlines()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        assert process.returncode == 0, words
        cpu.append(usage.ru_utime + usage.ru_stime)
        wall.append(time.perf_counter() - start)
        memory.append(int(said[-1]) / 1024)
        if wall[0] > 20:
            break
    note(f"{' '.join(words[:1])}: {cpu[0]:.2f} s of CPU, {memory[0]:.0f} MiB")
    return spread(cpu), spread(wall), spread(memory)


def _write_dataset(spec: Path, location: str) -> None:
    """What a run of the spec leaves."""
    from sweep.dataset.place import write_spec
    from sweep.dataset.store import make_folders, open_store, write_shard
    from sweep.dataset.upkeep import finish
    from sweep.running.plan import make_plan
    from sweep.running.worker import new_row
    from sweep.spec.configs import load_spec, resolved_text

    sweep, store = load_spec(spec), open_store(location)
    make_folders(store)
    write_spec(store, resolved_text(sweep))
    phases = run_config(make_config({"mem_per_vcpu": "2MiB"}))
    for number, batch in enumerate(make_plan(sweep.configs, set()).batches):
        outcome = {"status": "ok", "attempts": 1, "host": "host", "started_at": datetime.now(UTC), "wall_seconds": 2e-3}
        runs = [new_row(task) | outcome for task in batch.tasks]
        factor = 1 + number / 1000  # or the files would hold one number
        varied = [row | {"seconds": row["seconds"] * factor} for row in phases]
        write_shard(store, runs, [row | {"config_id": task.config_id} for task in batch.tasks for row in varied])
    finish(store)
    note("dataset written")


def _copy(dataset: str, uri: str) -> None:
    from pyarrow import fs

    filesystem, path = fs.FileSystem.from_uri(uri)
    for file in Path(dataset).rglob("*"):
        if file.is_file() and not file.name.startswith("."):
            with filesystem.open_output_stream(f"{path}/{file.relative_to(dataset)}") as target:
                target.write(file.read_bytes())
