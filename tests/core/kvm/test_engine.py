"""The kvm engine: a config becomes a run of the test under the settings it needs; they are put back, come what may."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from core.config import Config, make_config
from core.kvm.attendant import NOTEBOOK
from core.kvm.command import check_release, command_options, offered_options
from core.kvm.engine import measure
from core.kvm.errors import SelftestError
from core.kvm.host import Host
from core.kvm.options import read_options
from core.kvm.releases import parse_release
from tests.core.kvm.stand_in import USAGE

OFFERED = offered_options(USAGE)
OLD = (OFFERED - {"w", "a", "r"}) | {"f"}
EAGER = "sys/module/kvm/parameters/eager_page_split"


def config(**fields: object) -> Config:
    return make_config({"engine": "kvm", "pml": False, "vcpus": 2, "mem_per_vcpu": "4MiB", **fields})


def text(host: Host, file: str) -> str:
    return (host.root / file).read_text().strip()


# the command line


def test_the_usage_tells_which_options_there_are() -> None:
    assert set("aigpmnebvorsxwc") == OFFERED


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"backing": "1G", "mem_per_vcpu": "1GiB", "iterations": 3},
        {"slots": 2, "partitioned": False, "access_order": "random", "seed": 7},
        {"write_percent": 20, "write_pattern": "random", "seed": 9},
        {"manual_protect": False},
        {"mmu": "nested", "backing": "2M"},
    ],
)
def test_a_command_line_says_what_its_config_says(fields: dict[str, object]) -> None:
    wanted = config(**fields)
    options = read_options(command_options(wanted, OFFERED))
    backing = "4K" if wanted.backing == "4K" else options.fields["backing"]
    read = {name: value for name, value in options.fields.items() if name not in ("backing", "mmu")}
    assert backing == wanted.backing
    assert options.fields.get("mmu", "tdp") == wanted.mmu
    assert read == {name: getattr(wanted, name) for name in read}
    assert not options.ignored


@pytest.mark.parametrize(("percent", "fraction"), [(20, "5"), (33, "3")])
def test_old_tests_write_every_nth_page(percent: int, fraction: str) -> None:
    wanted = config(write_percent=percent, write_pattern="stride", populate_writes="same")
    assert command_options(wanted, OLD)[-2:] == ["-f", fraction]


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"iterations": 1}, "iterations: the test wants at least 2, not 1"),
        ({"initially_all_set": False}, "initially_all_set: the test cannot do false; allowed: true"),
        ({"granularity": "2M", "backing": "2M"}, "granularity: the test cannot do 2m; allowed: 4k"),
        ({"mmu": "shadow", "backing": "2M"}, "guest_page: the test cannot do 2m; allowed: 4k"),
        ({"write_percent": 20}, "write_pattern: this test cannot write 20% as stride; it has -w"),
    ],
)
def test_a_config_that_the_test_cannot_express_says_why(fields: dict[str, object], says: str) -> None:
    with pytest.raises(SelftestError) as caught:
        command_options(config(**fields), OFFERED)
    assert str(caught.value).startswith(says)


@pytest.mark.parametrize(
    ("fields", "release", "says"),
    [
        ({}, "6.1.0", "kernel: 6.12 is asked for, but this host's 6.1 behaves as 6.1; say kernel=6.1"),
        (
            {"backing": "2M", "split": "lazy"},
            "6.12",
            "split: KVM 6.12 does not split by lazy on tdp; allowed: eager, fault",
        ),
        (
            {"backing": "2M", "mmu": "legacy_tdp"},
            "6.12",
            "split: KVM 6.12 does not split by eager on legacy_tdp; allowed: lazy",
        ),
    ],
)
def test_a_config_that_the_kernel_does_not_do_says_why(fields: dict[str, object], release: str, says: str) -> None:
    with pytest.raises(SelftestError) as caught:
        check_release(config(**fields), parse_release(release))
    assert str(caught.value).startswith(says)


# the run


def test_a_run_becomes_the_rows_of_its_phases(host: Host, binary: str) -> None:
    rows = measure(config(iterations=2), binary, host)
    assert [(row["phase"], row["iteration"]) for row in rows] == [
        ("populate", None),
        ("enable", None),
        *((phase, iteration) for iteration in (1, 2) for phase in ("dirty", "get", "clear")),
        ("disable", None),
    ]
    assert {row["engine"] for row in rows} == {"kvm"}
    assert rows[2]["seconds"] == 0.1


def test_parameters_and_huge_pages_are_set_for_the_run_and_put_back(host: Host, binary: str) -> None:
    folder = "sys/kernel/mm/hugepages/hugepages-2048kB"
    rows = measure(config(backing="2M", split="fault"), binary, host)
    assert rows[2]["seconds"] == 0.3
    assert (text(host, EAGER), text(host, f"{folder}/nr_hugepages")) == ("Y", "8")
    assert text(host, f"run/{NOTEBOOK}") == "{}"


def test_huge_pages_that_the_host_does_not_give_are_told_and_put_back(host: Host, binary: str) -> None:
    with pytest.raises(SelftestError, match="backing: 64 huge pages of 2M are needed; as root: echo 64 > /sys/kernel"):
        measure(config(backing="2M", mem_per_vcpu="64MiB"), binary, host)
    assert text(host, "sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages") == "8"


def test_a_parameter_that_cannot_be_set_is_named(host: Host, binary: str) -> None:
    (host.root / EAGER).unlink()
    with pytest.raises(SelftestError, match="eager_page_split: this kernel has no such parameter"):
        measure(config(backing="2M"), binary, host)


def test_pml_is_not_for_amd(host: Host, binary: str) -> None:
    with pytest.raises(SelftestError, match=r"^pml: this host's CPUs are AMD's"):
        measure(config(pml=True), binary, host)


def test_a_host_without_kvm_says_so(host: Host, binary: str) -> None:
    (host.root / "sys/module/kvm_amd").rename(host.root / "sys/module/other")
    with pytest.raises(SelftestError, match=r"^KVM: neither kvm_intel nor kvm_amd is loaded"):
        measure(config(), binary, host)


def test_what_the_test_refuses_is_told_in_its_words(host: Host, binary: str) -> None:
    with pytest.raises(SelftestError, match=r"the test failed with 254: .*must be between 1 and 8"):
        measure(config(vcpus=16), binary, host)


@pytest.mark.parametrize(("name", "says"), [("missing", "no such program"), ("other", "is no dirty_log_perf_test")])
def test_what_is_not_the_test_is_refused(name: str, says: str, host: Host) -> None:
    program = host.root / "other"
    program.write_text("#!/bin/sh\necho something else\n")
    program.chmod(0o755)
    with pytest.raises(SelftestError, match=says):
        measure(config(), str(host.root / name), host)


WORKER = """
import sys
from pathlib import Path
from core.config import make_config
from core.kvm.engine import measure
from core.kvm.host import Host
fields = {"engine": "kvm", "pml": False, "backing": "2M", "mem_per_vcpu": "4MiB", "split": "fault"}
measure(make_config(fields), sys.argv[1], Host(Path(sys.argv[2])))
"""


def until(is_so: object, seconds: float = 60.0) -> bool:
    """Whether something becomes so within a time that no machine needs."""
    assert callable(is_so)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if is_so():
            return True
        time.sleep(0.02)
    return False


def started(host: Host, binary: str) -> subprocess.Popen[bytes]:
    """A worker in the middle of a run, under changed settings."""
    environment = os.environ | {"KVM_STAND_IN_PAUSE": "600", "PYTHONPATH": str(Path(__file__).parents[3])}
    command = [sys.executable, "-c", WORKER, binary, str(host.root)]
    worker = subprocess.Popen(command, env=environment, start_new_session=True)
    assert until(lambda: text(host, EAGER) == "N")
    return worker


def stand_ins(host: Host) -> list[int]:
    """The processes of the stand-in that are alive."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if (
                str(host.root).encode() in (folder / "environ").read_bytes()
                and b"stand_in.py" in (folder / "cmdline").read_bytes()
            ):
                found.append(int(folder.name))
        except OSError:
            continue
    return found


def test_a_worker_that_is_killed_leaves_nothing_changed(host: Host, binary: str) -> None:
    worker = started(host, binary)
    assert until(lambda: stand_ins(host))
    os.killpg(worker.pid, signal.SIGKILL)
    worker.wait()
    assert until(lambda: text(host, EAGER) == "Y")
    assert until(lambda: not stand_ins(host))
    assert until(lambda: text(host, f"run/{NOTEBOOK}") == "{}")


def test_what_a_killed_attendant_left_is_put_back_by_the_next(host: Host, binary: str) -> None:
    (host.root / EAGER).write_text("N\n")
    (host.root / "run" / NOTEBOOK).write_text(json.dumps({"parameters": {"eager_page_split": True}}))
    measure(config(), binary, host)
    assert text(host, EAGER) == "Y"
