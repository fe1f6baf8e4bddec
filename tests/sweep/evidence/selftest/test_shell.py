"""Lines of a shell: which test ran, which module parameters were set, on which host and kernel."""

from __future__ import annotations

import pytest

from core.kvm.parameters import MODULES
from sweep.evidence.selftest.shell import ShellLine, read_shell_line, read_test, without_prompt

ALL = frozenset(MODULES.values())


@pytest.mark.parametrize(
    ("line", "command", "host"),
    [
        ("[root@host kvm]# ./t -v 2", "./t -v 2", "host"),
        ("root@host:~# ./t", "./t", "host"),
        ("me@box:/src/linux$ sudo ./t", "sudo ./t", "box"),
        ("host7:~ # ./t", "host7:~ # ./t", None),
        ("$ ./t", "./t", None),
        ("++ ./t", "./t", None),
        ("./t -v 2", "./t -v 2", None),
    ],
)
def test_a_prompt_is_taken_away_and_may_name_the_host(line: str, command: str, host: str | None) -> None:
    assert without_prompt(line) == (command, host)


@pytest.mark.parametrize(
    "line",
    [
        "./dirty_log_perf_test -v 2",
        "taskset -c 0-7 /usr/bin/dirty_log_perf_test -v 2",
        "sudo N=1 ./dirty_log_perf_test -v 2 2>&1 | tee -a log",
        "./dirty_log_perf_test -v 2; done",
        "cd tools/testing/selftests/kvm && ./dirty_log_perf_test -v 2 > out",
        "for i in 1 2 3; do ./dirty_log_perf_test -v 2; done",
        'ssh host "./dirty_log_perf_test -v 2"',
        "taskset -c $(seq -s, 0 7) ./dirty_log_perf_test -v 2",
    ],
)
def test_a_line_that_runs_the_test_gives_its_options(line: str) -> None:
    options = read_test(line)
    assert options is not None
    assert (options.fields, options.unreadable, options.all_unreadable) == ({"vcpus": 2}, frozenset(), False)


@pytest.mark.parametrize("value", ["$(nproc)", "$((2 * 4))", "`nproc`", "$(nproc --all | head -1)"])
def test_what_another_command_prints_is_not_there_to_read_and_what_follows_is(value: str) -> None:
    options = read_test(f"./dirty_log_perf_test -v {value} -s anonymous_hugetlb_1gb")
    assert options is not None
    assert (options.fields, options.unreadable) == ({"backing": "1G"}, {"vcpus"})


def test_a_harness_runs_the_test_with_its_defaults() -> None:
    options = read_test("selftests: kvm: dirty_log_perf_test")
    assert options is not None
    assert options.default("vcpus") == 1


@pytest.mark.parametrize(
    "line",
    [
        "usage: ./dirty_log_perf_test [-h] [-a] [-i iterations] [-p offset]",
        "make: 'dirty_log_perf_test' is up to date.",
        "gcc -O2 -o dirty_log_perf_test",
        "ls -l dirty_log_perf_test",
        "ok 5 selftests: kvm: dirty_log_perf_test",
        "dirty_log_perf_test is great",
        "./dirty_log_test -i 2",
    ],
)
def test_other_lines_are_no_command(line: str) -> None:
    assert read_test(line) is None


@pytest.mark.parametrize(
    ("line", "parameters"),
    [
        ("echo N > /sys/module/kvm/parameters/eager_page_split", {"eager_page_split": False}),
        ("echo 1 > $kvm/eager_page_split", {"eager_page_split": True}),
        ("echo -n Y >/sys/module/kvm/parameters/tdp_mmu", {"tdp_mmu": True}),
        ("echo 0 | sudo tee /sys/module/kvm/parameters/eager_page_split", {"eager_page_split": False}),
        ("sudo sh -c 'echo N > /sys/module/kvm/parameters/eager_page_split'", {"eager_page_split": False}),
        ("options kvm tdp_mmu=N", {"tdp_mmu": False}),
        ("/sys/module/kvm/parameters/tdp_mmu:Y", {"tdp_mmu": True}),
        ('    tdp_mmu             = "N"'.strip(), {"tdp_mmu": False}),
        ("Command line: BOOT_IMAGE=/vmlinuz kvm.tdp_mmu=0 kvm-intel.ept=1", {"tdp_mmu": False, "ept": True}),
    ],
)
def test_parameters_are_set_or_shown(line: str, parameters: dict[str, bool]) -> None:
    assert read_shell_line(line) == ShellLine(parameters=parameters)


def test_a_value_that_is_not_there_to_read_is_told() -> None:
    line = read_shell_line("echo $eager > /sys/module/kvm/parameters/eager_page_split")
    assert line == ShellLine(unreadable=frozenset({"eager_page_split"}))
    assert read_shell_line("echo $(cat old) > /sys/module/kvm/parameters/eager_page_split") == line


@pytest.mark.parametrize(
    ("line", "parameters", "unloaded"),
    [
        ("modprobe kvm tdp_mmu=N", {"tdp_mmu": False}, ALL),
        ("sudo modprobe kvm_intel ept=N pml=N", {"ept": False, "pml": False}, frozenset({"kvm_intel"})),
        ("modprobe kvm_amd npt=0", {"npt": False}, frozenset({"kvm_amd"})),
        ("insmod ./kvm.ko tdp_mmu=Y", {"tdp_mmu": True}, ALL),
        ("rmmod kvm_intel", {}, frozenset({"kvm_intel"})),
        ("rmmod kvm-intel kvm", {}, ALL),
        ("modprobe -r kvm_intel", {}, ALL),
        ("modprobe -r kvm_intel && modprobe kvm_intel ept=N", {"ept": False}, ALL),
        ("modprobe kvm_intel", {}, frozenset()),
        ("modprobe vfio", {}, frozenset()),
    ],
)
def test_loading_sets_parameters_and_unloading_forgets_them(
    line: str, parameters: dict[str, bool], unloaded: frozenset[str]
) -> None:
    assert read_shell_line(line) == ShellLine(parameters=parameters, unloaded=unloaded)


def test_what_the_next_lines_show_is_told() -> None:
    assert read_shell_line("cat /sys/module/kvm/parameters/tdp_mmu").prints == ("tdp_mmu",)
    assert read_shell_line("uname -r").prints == ("kernel_release",)
    assert read_shell_line("hostname").prints == ("host",)


@pytest.mark.parametrize(
    ("line", "host", "release"),
    [
        ("Linux 6.1.75+ x86_64", None, "6.1.75+"),
        ("Linux hv7 5.15.167.4-microsoft-standard-WSL2", "hv7", "5.15.167.4-microsoft-standard-WSL2"),
        ("Linux 6.12.0", None, "6.12.0"),
        ("Linux version 6.1.0-18-amd64 (debian-kernel@lists.debian.org) (gcc-12) #1 SMP", None, "6.1.0-18-amd64"),
    ],
)
def test_the_kernel_says_which_it_is_in_several_ways(line: str, host: str | None, release: str) -> None:
    assert read_shell_line(line) == ShellLine(host=host, kernel_release=release)


def test_a_sentence_about_linux_names_no_kernel() -> None:
    assert not read_shell_line("Linux kernels since 6.4 clear faster")
    assert not read_shell_line("Linux 6.1 and 6.12 say the same")


def test_uname_names_host_and_kernel() -> None:
    line = "Linux box 6.1.0-18-amd64 #1-Debian SMP PREEMPT_DYNAMIC Debian 6.1.76-1 (2024-02-01) x86_64 GNU/Linux"
    assert read_shell_line(line) == ShellLine(host="box", kernel_release="6.1.0-18-amd64")
