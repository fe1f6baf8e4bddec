"""What a live run's row tells about its host, from files that a test writes and from this machine."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from core.config import make_config
from core.live.host import host_facts
from core.rows import RUN_COLUMNS

CONFIG = make_config({"engine": "live", "mem_per_vcpu": "2MiB"})

FILES = {
    "proc/cpuinfo": "processor\t: 0\nmodel name\t: A CPU @ 2 GHz\n\nprocessor\t: 1\nmodel name\t: A CPU @ 2 GHz\n",
    "proc/loadavg": "1.25 0.80 0.50 2/345 6789\n",
    "proc/sys/kernel/osrelease": "6.12.0-1-amd64\n",
    "sys/devices/system/node/online": "0-1,4\n",
    "sys/devices/system/cpu/cpu0/topology/thread_siblings_list": "0,2\n",
    "sys/devices/system/cpu/cpu1/topology/thread_siblings_list": "1,3\n",
    "sys/devices/system/cpu/cpu2/topology/thread_siblings_list": "0,2\n",
    "sys/devices/system/cpu/cpu3/topology/thread_siblings_list": "1,3\n",
    "sys/kernel/mm/transparent_hugepage/enabled": "always [madvise] never\n",
    "sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages": "512\n",
    "sys/kernel/mm/hugepages/hugepages-1048576kB/nr_hugepages": "0\n",
}


def machine(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def test_every_fact_is_read_from_where_linux_tells_it(tmp_path: Path) -> None:
    assert host_facts(CONFIG, machine(tmp_path, FILES)) == {
        "cpu_model": "A CPU @ 2 GHz",
        "cores": 2,
        "numa_nodes": 3,
        "huge_pages": "2M: thp madvise, 512 reserved; 1G: 0 reserved",
        "load_at_start": 1.25,
        "oversubscribed": False,
    }


def test_what_a_machine_does_not_tell_is_null(tmp_path: Path) -> None:
    facts = host_facts(CONFIG, tmp_path)
    assert facts.pop("oversubscribed") is False
    assert set(facts.values()) == {None}


@pytest.mark.parametrize(
    ("missing", "text"),
    [
        ("transparent_hugepage/enabled", "2M: 512 reserved; 1G: 0 reserved"),
        ("hugepages-2048kB/nr_hugepages", "2M: thp madvise; 1G: 0 reserved"),
        ("hugepages-1048576kB/nr_hugepages", "2M: thp madvise, 512 reserved"),
    ],
)
def test_huge_pages_are_told_as_far_as_they_are_known(tmp_path: Path, missing: str, text: str) -> None:
    files = {name: content for name, content in FILES.items() if not name.endswith(missing)}
    assert host_facts(CONFIG, machine(tmp_path, files))["huge_pages"] == text


def test_this_machine_fills_columns_of_the_runs_table_with_their_types() -> None:
    facts = host_facts(CONFIG)
    kinds = {column.name: column.kind for column in RUN_COLUMNS}
    assert {name for name, value in facts.items() if value is not None and type(value) is not kinds[name]} == set()


def test_more_vcpus_than_cpus_are_flagged() -> None:
    cpus = len(os.sched_getaffinity(0))
    for vcpus, oversubscribed in ((cpus, False), (cpus + 1, True)):
        config = make_config({"engine": "live", "mem_per_vcpu": "2MiB", "vcpus": vcpus})
        assert host_facts(config)["oversubscribed"] is oversubscribed
