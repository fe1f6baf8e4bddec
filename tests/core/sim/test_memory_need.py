"""What a simulation needs is told from its config: no less than its arrays take, and than it turns out to use."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given

from core.config import Config, config_text, make_config
from core.run import warm_up
from core.sim.memory_need import PROCESS_BYTES, needed_bytes, reserved_bytes
from core.tables import machine_of, memory_arrays
from tests.core.configurations import configurations

MIB = 2**20


def array_bytes(config: Config) -> int:
    return sum(np.dtype(kind).itemsize * size for kind, size in memory_arrays(machine_of(config)).values())


@given(configurations())
def test_no_array_is_forgotten(config: Config) -> None:
    assert array_bytes(config) <= reserved_bytes(config)
    assert needed_bytes(config) <= PROCESS_BYTES + reserved_bytes(config)


@pytest.mark.parametrize("roots", [1, 8])
@pytest.mark.parametrize("mmu", ["tdp", "shadow"])
@pytest.mark.parametrize("backing", ["4K", "2M"])
def test_for_large_guests_it_is_what_the_arrays_take(backing: str, mmu: str, roots: int) -> None:
    if mmu == "tdp" and roots > 1:
        pytest.skip("a TDP MMU has one root")
    config = make_config({"mem_per_vcpu": "64GiB", "backing": backing, "mmu": mmu, "guest_roots": roots})
    assert array_bytes(config) <= reserved_bytes(config) <= 1.2 * array_bytes(config)


PEAK = (
    "import sys\n"
    "from core.config import make_config\n"
    "from core.run import run_config\n"
    "run_config(make_config(eval(sys.argv[1])))\n"
    "lines = open('/proc/self/status').read().splitlines()\n"
    "print(next(line.split()[1] for line in lines if line.startswith('VmHWM')))\n"
)


@pytest.fixture(scope="module")
def _compiled() -> None:
    """Compiling takes more memory than most simulations."""
    warm_up()


@pytest.mark.usefixtures("_compiled")
@pytest.mark.parametrize(
    "values",
    [
        {"mem_per_vcpu": "64GiB", "backing": "2M"},
        {"mem_per_vcpu": "4GiB", "access_order": "random"},
        {"mem_per_vcpu": "32GiB", "vcpus": 208, "backing": "1G"},
        pytest.param({"mem_per_vcpu": "64GiB", "access_order": "random"}, marks=pytest.mark.chaos),
        pytest.param({"mem_per_vcpu": "4GiB", "vcpus": 16}, marks=pytest.mark.chaos),
        pytest.param({"mem_per_vcpu": "64MiB", "vcpus": 512}, marks=pytest.mark.chaos),
    ],
    ids=lambda values: config_text(make_config(values)).replace(" ", ","),
)
def test_no_simulation_uses_more_than_it_is_said_to_need(values: dict[str, object]) -> None:
    done = subprocess.run([sys.executable, "-c", PEAK, repr(values)], capture_output=True, text=True)
    used = int(done.stdout) * 1024
    assert used <= 1.1 * needed_bytes(make_config(values)), f"{used / MIB:.0f} MiB"
