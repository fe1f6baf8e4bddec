"""A host for the kvm engine: settings in files of a folder, and a stand-in for the test."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from core.kvm.host import HUGE_PAGE_FOLDERS, Host

PARAMETERS = {"kvm/tdp_mmu": "Y", "kvm/eager_page_split": "Y", "kvm_amd/npt": "Y"}


@pytest.fixture
def host(tmp_path: Path) -> Host:
    """An AMD host with Linux 6.12, whose eager_page_split can be written, with room for huge pages."""
    for name, value in PARAMETERS.items():
        module, _, parameter = name.partition("/")
        file = tmp_path / "sys/module" / module / "parameters" / parameter
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(value + "\n")
        file.chmod(0o644 if parameter == "eager_page_split" else 0o444)
    for folder in HUGE_PAGE_FOLDERS.values():
        pages = tmp_path / "sys/kernel/mm/hugepages" / folder
        pages.mkdir(parents=True)
        (pages / "nr_hugepages").write_text("8\n")
        (pages / "free_hugepages").write_text("8\n")
    (tmp_path / "proc/sys/kernel").mkdir(parents=True)
    (tmp_path / "proc/sys/kernel/osrelease").write_text("6.12.107+deb12-amd64\n")
    (tmp_path / "run").mkdir()
    return Host(tmp_path)


@pytest.fixture
def binary(host: Host, monkeypatch: pytest.MonkeyPatch) -> str:
    """The stand-in, as a program."""
    monkeypatch.setenv("KVM_STAND_IN_ROOT", str(host.root))
    program = host.root / "dirty_log_perf_test"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} {Path(__file__).parent / "stand_in.py"} "$@"\n')
    program.chmod(0o755)
    return str(program)
