"""The shared-memory segment: its layout, and that nothing of it stays."""

from __future__ import annotations

import os

import numpy as np
import pytest

from core.compiled.records import layout
from core.live.processes.errors import LiveError
from core.live.processes.segment import CACHE_LINE, PAGE, Field, map_segment, new_segment
from core.live.sync.waiting import ABORT
from tests.core.live.leftovers import descriptors, memory_files

FIELDS = [
    Field("bytes", np.uint8, 3),
    Field("tables", np.uint64, 1_000, alignment=PAGE),
    Field("counters", layout(["faults", ("splits", 4)]), 2),
    Field("bitmap", np.uint64, 5),
]


def test_fields_are_zeros_where_they_were_asked_to_be() -> None:
    with new_segment(FIELDS) as segment:
        for field in FIELDS:
            array = segment[field.name]
            assert array.ctypes.data % max(CACHE_LINE, field.alignment) == 0
            assert (array.dtype, len(array)) == (np.dtype(field.dtype), field.count)
            assert not array.tobytes().strip(b"\0")
        for field in FIELDS:  # nobody touches another
            segment[field.name].view(np.uint8)[:] = 255
        segment.abort[ABORT] = 1
        assert [len(segment[field.name].tobytes().strip(b"\xff")) for field in FIELDS] == [0] * 4


def test_another_mapping_sees_the_same_memory_and_records_are_views() -> None:
    with new_segment(FIELDS) as segment:
        other = map_segment(segment.descriptor, segment.fields)
        other["counters"][1].faults = 7
        other.abort[ABORT] = 1
        assert segment["counters"][1].faults == 7
        assert segment.abort[ABORT] == 1


def test_views_outlive_the_segment_and_nothing_else_does() -> None:
    before = descriptors()
    with new_segment(FIELDS) as segment:
        tables = segment["tables"]
        assert memory_files(os.getpid())
    del segment
    tables[:] = 1
    assert tables.sum() == 1_000
    del tables
    assert memory_files(os.getpid()) == []
    assert descriptors() == before


def test_without_memory_files_one_line_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "memfd_create")
    with pytest.raises(LiveError, match="needs Linux"), new_segment(FIELDS):
        pass
