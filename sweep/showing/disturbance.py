"""What an ioctl does to vCPUs that run meanwhile, in words and in a picture of one line: for `splitsweep explain`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from core.rows import Row

BARS: Final = " .:-=+*#%@"
"""Throughput from none to the undisturbed one: plain ASCII, so that it can be pasted into a mail."""

COLUMNS: Final = 64

STALL_CAUSES: Final = {
    "stalled_lock_seconds": "mmu_lock",
    "stalled_retry_seconds": "entries changed meanwhile",
    "stalled_flush_seconds": "TLB flushes",
    "stalled_refill_seconds": "TLB refills",
    "stalled_pml_seconds": "PML buffers",
}


def disturbance_lines(row: Row) -> Iterator[str]:
    """How throughput dips and over what time, who stalls for how long and why; nothing where no vCPU ran meanwhile."""
    if row.get("dip_depth") is None:
        return
    yield f"  guest      throughput falls by {row['dip_depth']:.0%} at most, below 90% for {row['dip_seconds']:.6f} s"
    yield f"             [{picture(row['timeline'], row['undisturbed_per_ms'])}]"
    longest = [
        f"{kind} {row[f'{kind}_stall_max_ns'] / 1e6:.6f} ms"
        for kind in ("read", "write")
        if row[f"{kind}_stall_max_ns"] is not None
    ]
    if longest:
        yield f"  longest    stall of a {', of a '.join(longest)}"
    causes = [f"{label} {row[name]:.6f} s" for name, label in STALL_CAUSES.items() if row[name]]
    if causes:
        yield f"  stalled    all vCPUs added up: {', '.join(causes)}"
    yield (
        f"  ioctl      yields: {row['yields']:,}, waited for mmu_lock {row['ioctl_wait_seconds']:.6f} s, "
        f"interrupts to vCPUs: {row['ipis_received']:,}, faults that met a changed entry: {row['retries']:,}"
    )


def disturbance_words(row: Row) -> str:
    """Part of a sentence: what the guest feels of the ioctl."""
    longest = {kind: row[f"{kind}_stall_max_ns"] for kind in ("read", "write")}
    stalls = [f"a {kind} stalls for up to {most / 1e6:.3g} ms" for kind, most in longest.items() if most is not None]
    return ", and ".join([f"meanwhile the guest's throughput falls by {row['dip_depth']:.0%} at most", *stalls])


def picture(timeline: Sequence[Row], undisturbed_per_ms: float) -> str:
    """Throughput over the phase, one character for each 64th of it, from ` ` (none) to `@` (undisturbed)."""
    length = timeline[-1]["end_seconds"]
    seen = [0.0] * COLUMNS
    for one in timeline:
        first, last = (one[name] / length * COLUMNS for name in ("start_seconds", "end_seconds"))
        for column in range(int(first), min(COLUMNS, int(last) + 1)):
            overlap = min(last, column + 1) - max(first, column)
            seen[column] += one["accesses"] * max(0.0, overlap) / (last - first)
    full = undisturbed_per_ms * length * 1000 / COLUMNS
    return "".join(BARS[min(len(BARS) - 1, round(share / full * (len(BARS) - 1)))] for share in seen)
