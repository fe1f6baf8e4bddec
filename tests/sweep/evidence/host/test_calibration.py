"""`splitsweep calibrate --host` and `validate --live`: what they write and print, not how long things take."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import numpy as np
import pytest

import sweep.evidence.host.calibration as host_calibration
import sweep.evidence.host.live_validation as live_validation
from core.config import Config, make_config
from core.costs.laws import costs_of
from core.costs.profile import PARAMETERS, load_profile
from core.live.processes.errors import LiveError
from core.rows import Row
from core.sim.engine import simulate
from sweep.cli import exit_code
from sweep.evidence.host.calibration import BETWEEN_CPUS, FITTED, NEUTRAL, OWN, SAME, SOLVED, SPUN
from sweep.evidence.host.live_validation import LivePhase, live_text

pytestmark = pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="the live engine needs Linux")

BASE = load_profile(Config().profile)
SPEC = 'name = "tiny"\n[fixed]\nmem_per_vcpu = "2MiB"\nbacking = "2M"\niterations = 1\nmmu = "legacy_tdp"\n'


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "tiny.toml").write_text(SPEC)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_measured_profile_serves_the_simulator_and_the_live_engine(
    workplace: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host_calibration, "LOCK_REPEATS", 20)
    code = exit_code(["calibrate", "--host", "--memory", "64MiB", "--repeats", "1"])
    printed, complaint = capsys.readouterr()
    if "while the machine is so busy" in complaint:
        pytest.skip("this machine has no two idle CPUs to measure the lock between")
    assert code == 0, complaint
    assert all(parameter in printed for parameter in PARAMETERS)
    assert "host.toml: written" in printed
    profile = load_profile("host.toml")
    assert all(profile[parameter] > 0 for parameter in ("guest.write_ns", "guest.read_ns", "fault.map_ns"))
    assert all(profile[parameter] == BASE[parameter] for parameter in SPUN)
    assert all(profile[parameter] == 0 for parameter in NEUTRAL)
    assert profile["machine.cpus"] == len(os.sched_getaffinity(0))
    lines = (workplace / "host.toml").read_text().splitlines()
    assert lines[0].startswith("# Measured by splitsweep calibrate --host on ")
    assert not [line for line in lines if " = " in line and "# [" not in line], "a value without where it comes from"

    assert exit_code(["validate", "--live", "tiny.toml", "--profile", "host.toml", "--repeats", "1"]) == 0
    printed = capsys.readouterr().out
    assert "Profile host.toml against 1 configs on this host, the median of 1 live runs" in printed
    assert "mem_per_vcpu=2MiB backing=2M mmu=legacy_tdp iterations=1" in printed
    for phase in ("populate", "enable", "dirty 1", "get 1", "clear 1", "disable", "after_disable"):
        assert f"\n{phase} " in printed
    assert "\nSummary\n" in printed


def test_every_parameter_has_one_origin() -> None:
    machine = [parameter for parameter in PARAMETERS if parameter.startswith("machine.")]
    assert sorted([*machine, *SPUN, *NEUTRAL, *SAME, *BETWEEN_CPUS, *SOLVED]) == sorted(PARAMETERS)


def test_the_equations_find_the_costs_that_a_simulated_host_has(monkeypatch: pytest.MonkeyPatch) -> None:
    """Measuring replaced by simulating with known costs: the solution must be those."""
    known = dict(host_calibration._unit_profile(None).values)
    known |= {parameter: (BASE[parameter] or 100) * (0.5 + number % 4) for number, parameter in enumerate(FITTED)}
    known["lock.line_ns"] = known["lock.uncontended_ns"] / 2  # the only vCPU's
    known |= {"fault.outside_ns": 60, "fault.fast_ns": 2 * BASE["fault.fast_ns"]}  # one below what is spun for
    profile = dataclasses.replace(BASE, name="known", values=known, digest="known")

    def simulated(config: Config) -> list[Row]:
        as_sim = dataclasses.replace(config, engine="sim")
        return simulate(as_sim, costs_of(as_sim, profile))

    monkeypatch.setattr(host_calibration, "measure", simulated)
    monkeypatch.setattr(
        host_calibration, "_between_cpus", lambda cpus, memory, repeats: dict.fromkeys(BETWEEN_CPUS, 0.0)
    )
    base = dataclasses.replace(BASE, values=dict(BASE.values) | {"ioctl.walk_root_ns": 0.0}, digest="base")
    fit = host_calibration.calibrate_host(base, 64 << 20, 1)
    assert np.median(np.abs(fit.residuals)) < 1
    told = [parameter for parameter in FITTED if fit.errors[parameter] < 0.1]
    assert len(told) > len(FITTED) / 2
    for parameter in [*told, "ioctl.walk_root_ns"]:  # the base profile has 0 for that, which must not hold it there
        assert fit.profile[parameter] == pytest.approx(known[parameter], rel=0.1), parameter
    for own, exit_ns in OWN.items():
        assert fit.profile[own] == pytest.approx(known[exit_ns], rel=0.1)
        assert fit.profile[exit_ns] == max(BASE[exit_ns], fit.profile[own])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["calibrate"], "give either DATA"),
        (["calibrate", "own.csv", "--host"], "give either DATA"),
        (["calibrate", "--host", "--memory", "many"], "mem_per_vcpu"),
        (["calibrate", "--host", "-o", "host.txt"], "a profile is a .toml file"),
        (["validate", "--live", "absent.toml"], "absent.toml: no such file"),
        (["validate", "--live", "tiny.toml", "--cross-validate"], "leave out --against, --where and --cross-validate"),
        (["validate", "--live", "tiny.toml", "--profile", "absent.toml"], "no profile 'absent.toml'"),
        (["validate", "--live", "many.toml"], "vcpus = 4096, but this process may use"),
        (["validate", "--live", "touch.toml"], "touch_memory = true"),
    ],
)
def test_bad_usage_is_one_line_and_writes_nothing(
    arguments: list[str], message: str, workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (workplace / "many.toml").write_text(SPEC + "vcpus = 4096\n")
    (workplace / "touch.toml").write_text(SPEC + 'engine = "live"\ntouch_memory = true\n')
    assert exit_code(arguments) == 2
    captured = capsys.readouterr()
    said = [line for line in captured.err.splitlines() if line.startswith("splitsweep: ")]
    assert len(said) == 1
    assert message in said[0]
    assert captured.out == ""
    assert not list(workplace.glob("host.*"))


@pytest.mark.parametrize("arguments", [["calibrate", "--host"], ["validate", "--live", "tiny.toml"]])
def test_a_host_that_is_not_linux_is_told_so(
    arguments: list[str], workplace: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "memfd_create")
    assert exit_code(arguments) == 2
    assert "the live engine needs Linux" in capsys.readouterr().err


def test_a_run_that_fails_is_one_line(
    workplace: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(config: Config) -> list[Row]:
        raise LiveError("vCPU 0 died of SIGKILL")

    monkeypatch.setattr(live_validation, "run_config", fails)
    assert exit_code(["validate", "--live", "tiny.toml"]) == 2
    assert "vCPU 0 died of SIGKILL" in capsys.readouterr().err


def phase(name: str, measured: tuple[float, ...], simulated: float) -> LivePhase:
    return LivePhase(make_config({"mem_per_vcpu": "2MiB"}), name, None, measured, simulated)


def test_the_table_shows_medians_spreads_and_errors() -> None:
    found = [phase("enable", (0.002, 0.001, 0.004), 0.003), phase("disable", (1e-5,), 1e-5)]
    text = list(live_text(found, "lkml"))
    assert "enable  | 0.002000s |   150% | 0.003000s |  +50% |" in text
    assert "disable | 0.000010s |     0% | 0.000010s |  +0%* |" in text
    assert "enable  |      1 |        50.0% | 50.0% |     0 of 1 |" in text
    assert text[-1].startswith("*: 1 of 2 phases took less than 0.1 ms")


def test_short_phases_count_only_where_there_are_no_longer_ones() -> None:
    found = [phase("get", (1e-5,), 1e-4), phase("get", (1e-3,), 1.1e-3)]
    assert "get   |      1 |        10.0% | 10.0% |     1 of 1 |" in list(live_text(found, "lkml"))


def test_other_forms_hold_the_same_numbers() -> None:
    found = [phase("enable", (0.002, 0.001, 0.004), 0.003)]
    assert "| enable | 0.002000s | 150% | 0.003000s | +50% |" in list(live_text(found, "markdown"))
    header, line = live_text(found, "csv")
    assert header == "config,phase,iteration,live,shortest,longest,simulated,error_percent"
    assert line == "mem_per_vcpu=2MiB mmu=tdp,enable,,0.002,0.001,0.004,0.003,50.0"
