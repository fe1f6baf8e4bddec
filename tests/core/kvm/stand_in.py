"""A stand-in for dirty_log_perf_test: what the test of Linux 6.12 takes and prints, without a virtual machine.

It reads its options as the test does and refuses what the test refuses. Its times follow the module parameters under
KVM_STAND_IN_ROOT, so that a run under the wrong ones shows. With KVM_STAND_IN_PAUSE it waits that long in the middle.
"""

from __future__ import annotations

import getopt
import os
import sys
import time
from pathlib import Path

USAGE = """
usage: dirty_log_perf_test [-h] [-a] [-i iterations] [-p offset] [-g] [-m mode] [-n] [-b vcpu bytes] [-v vcpus] [-o]

 -a: access memory randomly rather than in order.
 -i: specify iteration counts (default: 2)
 -g: Do not enable KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2.
 -p: specify guest physical test memory offset
 -m: specify the guest mode ID to test
 -n: Run the vCPUs in nested mode (L2)
 -e: Run vCPUs while dirty logging is being disabled.
 -b: specify the size of the memory region which should be
 -v: specify the number of vCPUs to run.
 -o: Overlap guest memory accesses instead of partitioning
 -r: specify the starting random seed.
 -s: specify the type of memory that should be used to
 -x: Split the memory region into this number of memslots.
 -w: specify the percentage of pages which should be written to
 -c: Pin tasks to physical CPUs.
"""
SHIFTS = {"b": 0, "k": 10, "m": 20, "g": 30, "t": 40}
PAGES = {"anonymous": 12, "anonymous_thp": 21, "anonymous_hugetlb_2mb": 21, "anonymous_hugetlb_1gb": 30}


def fail(text: str) -> None:
    print(f"==== Test Assertion Failure ====\n  {text}")
    sys.exit(254)


def parse_size(text: str) -> int:
    digits = text.rstrip("bBkKmMgGtT")
    if not digits.isdecimal():
        fail(f"Need at least one digit in '{text}'")
    return int(digits) << SHIFTS[text[len(digits) :].lower()[:1] or "b"]


def main() -> None:
    try:
        options, _ = getopt.gnu_getopt(sys.argv[1:], "ab:c:eghi:m:nop:r:s:v:x:w:")
    except getopt.GetoptError:
        print(USAGE)
        sys.exit(0)
    given = dict(options)
    if "-h" in given:
        print(USAGE)
        return
    vcpus, each = int(given.get("-v", 1)), parse_size(given.get("-b", "1G"))
    iterations, slots = int(given.get("-i", 2)), int(given.get("-x", 1))
    source = given.get("-s", "anonymous")
    if iterations < 2:
        fail("The test should have at least two iterations")
    if vcpus > 8:
        fail("Invalid number of vcpus, must be between 1 and 8")
    if source not in PAGES:
        fail(f"Unknown backing src type: {source}")
    if (vcpus * each >> 12) % slots:
        fail(f"Guest memory cannot be evenly divided into {slots} slots.")
    root = Path(os.environ["KVM_STAND_IN_ROOT"])
    start = ((1 << 46) - vcpus * each - 4096) >> PAGES[source] << PAGES[source]
    print(f"Random seed: 0x6b8b4567\nTest iterations: {iterations}")
    print("Testing guest mode: PA-bits:ANY, VA-bits:48,  4K pages")
    print(f"Random seed: {int(given.get('-r', 1)):#x}")
    print(f"guest physical test memory: [{start:#x}, {start + vcpus * each:#x})")
    print("Populate memory time: 0.500000000s\nEnabling dirty logging time: 0.000010000s\n", flush=True)
    time.sleep(float(os.environ.get("KVM_STAND_IN_PAUSE", "0")))
    eager = (root / "sys/module/kvm/parameters/eager_page_split").read_text().strip() == "Y"
    for iteration in range(1, iterations + 1):
        print(f"Iteration {iteration} dirty memory time: {0.1 if eager else 0.3:.9f}s")
        print(f"Iteration {iteration} get dirty log time: 0.000020000s")
        if "-g" not in given:
            print(f"Iteration {iteration} clear dirty log time: {0.05 if eager else 0.002:.9f}s")
    print("Disabling dirty logging time: 0.003000000s")
    print(f"Get dirty log over {iterations} iterations took 0.000040000s. (Avg 0.000020000s/iteration)")


if __name__ == "__main__":
    main()
