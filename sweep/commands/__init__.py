"""One module per command of the command line, each with one function of the command's name.

They are imported whenever `splitsweep` starts, so they import nothing heavy (pandas, ray, numba, scipy, pyarrow,
duckdb) outside their functions. Here is what several of them are asked in the same words.
"""

from __future__ import annotations

from typing import Annotated

import typer

Overrides = Annotated[
    list[str] | None,
    typer.Argument(metavar="FIELD=V1,V2", help="Values to run instead of those in the spec."),
]

Address = Annotated[
    str | None,
    typer.Option(
        help="Where it runs: pool (processes of this machine), local (a Ray started for it), auto (the Ray cluster "
        "of this machine), ray://HOST:PORT, HOST:PORT, or inline (in this process).",
        show_default="pool for what takes up to a minute, else local",
    ),
]

Binary = Annotated[
    str | None,
    typer.Option(metavar="FILE", help="engine = kvm: the kernel's dirty_log_perf_test.", show_default="on PATH"),
]
