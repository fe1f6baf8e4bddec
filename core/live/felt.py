"""What running vCPUs felt of an ioctl, and what its thread did to them: the parts that the processes left, as one."""

from __future__ import annotations

import numpy as np

from core.live.processes.segment import Segment
from core.sim.concurrent.state import DISTURBANCE, Concurrency, new_concurrency
from core.sim.concurrent.timeline import BINS, Timeline
from core.stalls import BUCKETS

LONGEST = ("longest_read", "longest_write")


def felt_by_all(segment: Segment, mine: slice, duration: int) -> Concurrency:
    """The parts of the processes in one phase, `mine`, added up; its end, after so long, cuts off who still waits."""
    whole = new_concurrency(1)
    for name in DISTURBANCE.names or ():
        parts = segment["felt"][name][mine]
        whole.felt[name] = min(parts.max(), duration) if name in LONGEST else parts.sum()
    whole.stalls[:] = segment["felt_stalls"].reshape(-1, 2, BUCKETS)[mine].sum(axis=0)
    _add_timelines(whole.timeline, segment["bins"].reshape(-1, BINS)[mine], segment["bin_width"][mine])
    return whole


def _add_timelines(timeline: Timeline, bins: np.ndarray, widths: np.ndarray) -> None:
    """Add timelines whose bins are of different widths: all began with one, and were doubled as time outgrew them."""
    timeline.scale.width = widths.max()
    for part, width in zip(bins, widths, strict=True):
        places = np.arange(BINS) // (int(timeline.scale.width) // int(width))
        for name in part.dtype.names or ():
            np.add.at(timeline.bins[name], places, part[name])
