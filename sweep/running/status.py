"""`splitsweep status`: how far a sweep is, told from what lies on disk.

The resolved spec in the dataset says what was wanted, the shards say what is done; no running process is asked, so the
answer is the same during a run, after a kill, and on another machine. Kept light: no pandas, ray, numba or scipy
(unless the spec is a sample that scipy draws).
"""

from __future__ import annotations

import dataclasses
import json
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from core.config import FIELDS, config_text, make_config
from sweep.dataset.origin import Origin, origins, origins_note
from sweep.dataset.place import SPEC, is_place_of_runs, read_spec
from sweep.dataset.views import existing_store, has_results, open_views
from sweep.errors import QueryError, SpecError
from sweep.spec.configs import Spec, load_spec

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_TIME: Final = "%Y-%m-%d %H:%M:%S"  # fractions of a second tell nobody anything here

_RUNS: Final = """
SELECT count(*) FILTER (status = 'ok'), count(*) FILTER (status = 'failed'), min(started_at), max(started_at),
       list_sort(list(DISTINCT engine || ' ' || engine_version))
FROM wanted_runs
"""

_HOSTS: Final = "SELECT host, count(*) FROM runs WHERE host IS NOT NULL GROUP BY host ORDER BY host"

_FAILURES: Final = f"""
SELECT error_type, count(*), first(error), max(attempts), first(struct_pack({", ".join(FIELDS)}))
FROM (SELECT * FROM wanted_runs WHERE status = 'failed' ORDER BY config_id)
GROUP BY error_type ORDER BY count(*) DESC, error_type
"""


@dataclass(frozen=True, slots=True)
class FailureGroup:
    """The failures of one kind, with the first of them as the example."""

    error_type: str
    count: int
    error: str
    attempts: int
    config: str


@dataclass(frozen=True, slots=True)
class Status:
    """What a dataset holds, against what its spec asked for (total is None where no spec can be read)."""

    location: str
    spec_name: str | None
    spec_error: str | None
    total: int | None
    done: int
    failed: int
    other: int  # configs that the spec does not ask for: of an earlier spec, profile or engine version
    phase_rows: int
    first: datetime | None
    last: datetime | None
    engines: tuple[str, ...]
    hosts: Mapping[str, int]
    failures: tuple[FailureGroup, ...]
    origins: tuple[Origin, ...]


def dataset_status(location: str) -> Status:
    """The status of the dataset at `location`; QueryError if there is neither a spec nor a result."""
    store = existing_store(location)
    if not has_results(store) and not is_place_of_runs(store):
        raise QueryError(f"{location}: no dataset there; `splitsweep run` makes one")
    text = read_spec(store)
    spec, spec_error = _resolved_spec(f"{location}/{SPEC}", text)
    with open_views(store) as dataset:
        return _status(location, dataset, spec, spec_error)


def status_text(status: Status) -> Iterator[str]:
    """The status in lines of plain text, the important ones first, with the command that goes on."""
    yield f"{status.location}: {status.spec_name or 'results without a spec'}"
    yield f"configs   {_progress_text(status)}"
    if status.other:
        yield f"          {status.other:,} more, of another spec, profile or engine version"
    if status.spec_error:
        yield f"spec      {status.spec_error}"
    yield f"rows      {status.phase_rows:,} phases"
    if status.first and status.last:
        yield f"started   {status.first:{_TIME}} to {status.last:{_TIME}} UTC"
    if status.engines:
        yield f"engine    {', '.join(status.engines)}"
    if status.hosts:
        yield f"hosts     {', '.join(f'{host} ({count:,})' for host, count in status.hosts.items())}"
    if note := origins_note(status.origins):
        yield f"origins   {note}"
    for group in status.failures:
        yield f"failed    {group.count:,} x {group.error_type}, like: {group.error} (attempts: {group.attempts})"
        yield f"          see it: splitsweep explain {group.config}"
    if status.total is not None and status.done < status.total:
        yield f"to go on  splitsweep run {status.location}/{SPEC} --results {status.location}"


def status_json(status: Status) -> str:
    """The same as one JSON object, with the names of Status; times in ISO 8601."""
    return json.dumps(dataclasses.asdict(status), default=_json_value, ensure_ascii=False, indent=2)


def _json_value(value: object) -> object:
    return (
        value.isoformat() if isinstance(value, datetime) else dict(value) if isinstance(value, Mapping) else str(value)
    )


def _progress_text(status: Status) -> str:
    failed = f", {status.failed:,} failed" if status.failed else ""
    if status.total is None:
        return f"{status.done:,} done{failed}"
    left = status.total - status.done - status.failed
    missing = f", {left:,} missing" if left else ""
    return f"{status.done:,} of {status.total:,} done ({status.done / status.total:.0%}){failed}{missing}"


def _resolved_spec(name: str, text: str | None) -> tuple[Spec | None, str | None]:
    """The spec of the dataset, or why it cannot be read: a dataset can do without."""
    if text is None:
        return None, None
    with tempfile.TemporaryDirectory() as folder:  # the dataset may be on an object store
        file = Path(folder) / SPEC
        file.write_text(text)
        try:
            return load_spec(file), None
        except SpecError as error:
            return None, str(error).replace(str(file), name)


def _status(location: str, dataset: DuckDBPyConnection, spec: Spec | None, spec_error: str | None) -> Status:
    _create_wanted_runs(dataset, spec)
    ((done, failed, first, last, engines),) = dataset.execute(_RUNS).fetchall()
    return Status(
        location=location,
        spec_name=spec.name if spec else None,
        spec_error=spec_error,
        total=len(spec.configs) if spec else None,
        done=done,
        failed=failed,
        other=_count(dataset, "runs") - done - failed,
        phase_rows=_count(dataset, "phases"),
        first=first,
        last=last,
        engines=tuple(engines or ()),
        hosts=dict(dataset.execute(_HOSTS).fetchall()),
        failures=tuple(_failure_groups(dataset)),
        origins=tuple(origins(dataset)),
    )


def _create_wanted_runs(dataset: DuckDBPyConnection, spec: Spec | None) -> None:
    """A view of the runs that the spec asks for, or of all where no spec can be read."""
    wanted = ""
    if spec is not None:
        import pyarrow as pa

        dataset.register("wanted_names", pa.table({"name": spec.configs.names}))
        dataset.execute("CREATE TABLE wanted AS SELECT printf('%016x', name) AS config_id FROM wanted_names")
        wanted = "SEMI JOIN wanted USING (config_id)"
    dataset.execute(f"CREATE VIEW wanted_runs AS SELECT * FROM runs {wanted}")


def _count(dataset: DuckDBPyConnection, view: str) -> int:
    ((count,),) = dataset.execute(f"SELECT count(*) FROM {view}").fetchall()
    return int(count)


def _failure_groups(dataset: DuckDBPyConnection) -> Iterator[FailureGroup]:
    for error_type, count, error, attempts, record in dataset.execute(_FAILURES).fetchall():
        yield FailureGroup(str(error_type), count, str(error), int(attempts or 1), _config_words(record))


def _config_words(record: dict[str, Any]) -> str:
    return config_text(make_config(record))
