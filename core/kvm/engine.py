"""The kvm engine: a config in, the rows of a run of the real dirty_log_perf_test on this host out.

Times are those that the test prints; counts are KVM's own, of a second run. What cannot be counted here is null.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import asdict
from typing import Final

from core.config import Config, config_record
from core.identity import config_id
from core.kvm import TEST
from core.kvm.attendant import Request, attend
from core.kvm.command import check_release, command_options, offered_options
from core.kvm.counting import PhaseCounts
from core.kvm.errors import SelftestError
from core.kvm.host import Host
from core.kvm.output import PrintedRun, RunReader, Summary, read_line
from core.kvm.parameters import needed_parameters
from core.kvm.releases import parse_release
from core.rows import Row
from core.sizes import PAGE_SIZES

USAGE_SECONDS: Final = 60


def measure(config: Config, binary: str | None = None, host: Host = Host()) -> list[Row]:  # noqa: B008
    """Run the test for `config` on this host: one row per phase and iteration that it times.

    `binary` is the test, by default the one on PATH. Raises SelftestError saying why the host or the test cannot do it.
    """
    test = found_test(binary)
    options = command_options(config, offered_options(_usage(test)))
    check_release(config, parse_release(host.release()))
    request = Request(
        command=[test, *options],
        parameters=_parameters(config, host),
        huge_pages=None if config.backing == "4K" else config.backing,
        huge_pages_needed=config.pages // PAGE_SIZES[config.backing],
        pages_per_slot=config.pages_per_slot,
        is_shadow=config.mmu == "shadow",
        root=str(host.root),
    )
    answer = attend(request)
    return rows_of(config, read_output(answer.output), answer.counts)


def found_test(binary: str | None) -> str:
    """The path of the test; SelftestError if there is none."""
    found = shutil.which(binary or TEST)
    if found is None:
        how = "give it with --binary, or put it on PATH; tools/testing/selftests/kvm of the kernel's source has it"
        raise SelftestError(f"{binary or TEST}: no such program; {how}")
    return found


def read_output(text: str) -> PrintedRun:
    """The one run in what the test printed."""
    run = RunReader()
    for line in text.splitlines():
        shown = read_line(line.strip())
        if shown is not None and not isinstance(shown, Summary):
            run.take(shown)
    return run.whole_run()


def rows_of(config: Config, run: PrintedRun, counts: Sequence[PhaseCounts]) -> list[Row]:
    """The rows of the phases that the test timed, with what KVM counted in them."""
    if (run.iterations, run.has_clear) != (config.iterations, config.manual_protect):
        raise SelftestError(
            f"the test ran {run.iterations} iterations {'with' if run.has_clear else 'without'} a clear, not as asked"
        )
    fields = {"config_id": config_id(config), **config_record(config)}
    counted = {(phase.phase, phase.iteration): phase.columns for phase in counts}
    return [fields | asdict(timing) | counted.get((timing.phase, timing.iteration), {}) for timing in run.timings]


def _usage(test: str) -> str:
    try:
        shown = subprocess.run([test, "-h"], capture_output=True, text=True, timeout=USAGE_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SelftestError(f"{test}: cannot be run: {error}") from None
    if not offered_options(shown.stdout):
        raise SelftestError(f"{test}: is no dirty_log_perf_test; its -h says: {shown.stdout.strip()[:100]!r}")
    return shown.stdout


def _parameters(config: Config, host: Host) -> dict[str, bool]:
    """The parameters that the config needs of this host."""
    intel = host.vendor_module() == "kvm_intel"
    if config.pml and not intel and config.mmu in ("tdp", "legacy_tdp"):
        raise SelftestError("pml: this host's CPUs are AMD's, which have none; allowed: false")
    needed = needed_parameters(config.mmu, config.split, config.pml, intel=intel)
    present = host.parameters()
    return {name: value for name, value in needed.items() if value or name in present}  # an old kernel has fewer
