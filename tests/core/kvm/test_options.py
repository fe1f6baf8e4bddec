"""The options of the test are read as its own parser reads them, and each has a meaning or a reason to have none."""

from __future__ import annotations

import shlex

import pytest

from core.errors import ConfigError
from core.kvm.errors import SelftestError
from core.kvm.options import Options, read_options


def read(text: str) -> Options:
    return read_options(shlex.split(text))


@pytest.mark.parametrize(
    ("options", "fields"),
    [
        ("-v 64 -b 1G -s anonymous_hugetlb_1gb", {"vcpus": 64, "mem_per_vcpu": 2**30, "backing": "1G"}),
        ("-b512m", {"mem_per_vcpu": 2**29}),
        ("-b 512MB", {"mem_per_vcpu": 2**29}),
        ("-b 20m", {"mem_per_vcpu": 20 * 2**20}),
        ("-b 3g", {"mem_per_vcpu": 3 * 2**30}),
        ("-b 1T", {"mem_per_vcpu": 2**40}),
        ("-b 0x40000000", {"mem_per_vcpu": 2**30}),
        ("-b 1073741824b", {"mem_per_vcpu": 2**30}),
        ("-v 0x10 -x 010", {"vcpus": 16, "slots": 8}),
        ("-s anonymous", {"backing": "4K"}),
        ("-s anonymous_thp", {"backing": "2M"}),
        ("-s anonymous_hugetlb_2mb", {"backing": "2M"}),
        ("-i 5 -x 4 -r 7", {"iterations": 5, "slots": 4, "seed": 7}),
        ("-f 5", {"write_percent": 20, "write_pattern": "stride", "populate_writes": "same"}),
        ("-f 3", {"write_percent": 33, "write_pattern": "stride", "populate_writes": "same"}),
        ("-w 20", {"write_percent": 20, "write_pattern": "random"}),
        ("-g", {"manual_protect": False, "initially_all_set": False}),
        ("-ao", {"access_order": "random", "partitioned": False}),
        ("-aov4", {"access_order": "random", "partitioned": False, "vcpus": 4}),
        ("-n", {"mmu": "nested"}),
        ("-v 2 -v 4", {"vcpus": 4}),
        ("", {}),
    ],
)
def test_options_are_fields(options: str, fields: dict[str, object]) -> None:
    assert read(options).fields == fields


@pytest.mark.parametrize("letter", "cehmpjkl")
def test_an_option_that_means_no_field_has_a_reason(letter: str) -> None:
    options = read(f"-{letter} 1 -v 2")
    assert options.fields == {"vcpus": 2}
    assert len(options.ignored[letter].split()) > 3


def test_an_option_that_no_test_has_is_said_to_be_none() -> None:
    assert read("-Z 9 -v 2").ignored == {"Z": "is no option of the tests of 5.10 to 7.x"}


def test_running_through_disable_is_told() -> None:
    assert read("-e -v 2").disables_while_running
    assert not read("-v 2").disables_while_running


def test_a_value_that_a_shell_put_there_leaves_its_field_open() -> None:
    options = read("-v $N -b ${SZ} -s anonymous_hugetlb_2mb")
    assert (options.fields, options.unreadable) == ({"backing": "2M"}, {"vcpus", "mem_per_vcpu"})
    assert not options.all_unreadable


def test_options_that_a_shell_put_there_leave_all_fields_open() -> None:
    options = read('-v 4 "$@"')
    assert (options.fields, options.all_unreadable) == ({"vcpus": 4}, True)
    assert options.default("backing") is None


def test_what_no_option_names_is_what_the_test_takes_by_default() -> None:
    options = read("-v $N -s shmem")
    assert [options.default(name) for name in ("vcpus", "mem_per_vcpu", "backing")] == [None, 2**30, None]
    assert options.unclear_backing == "shmem"


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ("-v two", "-v two: is not a whole number"),
        ("-v 0", "vcpus: 0 is out of range; allowed: 1 to 4096"),
        ("-v -1", "-v -1: is not a whole number"),
        ("-v", "-v: its value is missing"),
        ("-b 0", "mem_per_vcpu: 0 bytes is no multiple"),
        ("-b 1.5G", "-b 1.5G: is not a size"),
        ("-b 5x", "-b 5x: is not a size"),
        ("-b G", "-b G: is not a size"),
        ("-w 101", "write_percent: 101 is out of range"),
        ("-f 13", "-f 13: no percentage of writes means the same pages; allowed: 1, 2, 3,"),
        ("-f 0", "-f 0: no percentage of writes means the same pages"),
        ("-f 200", "-f 200: no percentage of writes means the same pages"),
        (
            "-s anonymous_hugetlb_16kb",
            "-s anonymous_hugetlb_16kb: is no backing source of x86 hosts; allowed: anonymous,",
        ),
    ],
)
def test_values_with_which_the_test_would_not_run_are_refused(options: str, says: str) -> None:
    with pytest.raises((SelftestError, ConfigError)) as caught:
        read(options)
    assert str(caught.value).startswith(says)
