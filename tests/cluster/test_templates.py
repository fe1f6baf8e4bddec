"""The templates for real clusters are what their readers take: held against their schemas, and a typo is noticed."""

from __future__ import annotations

import copy
import gzip
import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import ray
import yaml

TEMPLATES = Path(__file__).parents[2] / "cluster" / "templates"
SCHEMAS = Path(__file__).parents[1] / "data" / "kubernetes"
KUBERNETES = json.loads(gzip.decompress((SCHEMAS / "kubernetes-1.37.json.gz").read_bytes()))
RAY_JOB = json.loads((SCHEMAS / "rayjob.json").read_text())
CLUSTER = json.loads((Path(ray.__file__).parent / "autoscaler" / "ray-schema.json").read_text())

LAUNCHED = ("on-prem.yaml", "aws.yaml")


def documents(name: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((TEMPLATES / name).read_text()))


def check_kubernetes(kind: str, value: object) -> None:
    schema = {"$ref": f"#/$defs/{KUBERNETES['roots'][kind]}", "$defs": KUBERNETES["$defs"]}
    jsonschema.validate(value, schema)


def check_ray_job(job: dict[str, Any]) -> None:
    jsonschema.validate(job, RAY_JOB)
    cluster = job["spec"]["rayClusterSpec"]
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        check_kubernetes("PodTemplateSpec", group["template"])


def containers(value: object) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield from value.get("containers", [])
        value = list(value.values())
    if isinstance(value, list):
        for part in value:
            yield from containers(part)


@pytest.mark.parametrize("name", LAUNCHED)
def test_the_cluster_launcher_takes_its_templates(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from ray.autoscaler._private.util import prepare_config, validate_config

    (config,) = documents(name)
    jsonschema.validate(config, CLUSTER)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**config, "min_worker": 1}, CLUSTER)
    prepared = prepare_config(copy.deepcopy(config))
    validate_config(prepared)
    assert prepared["max_workers"] == config["max_workers"]
    if "head_node_type" in config:
        with pytest.raises((ValueError, KeyError)):
            validate_config(prepare_config({**copy.deepcopy(config), "head_node_type": "nobody"}))


@pytest.mark.parametrize("name", LAUNCHED)
def test_every_node_of_a_launched_cluster_asks_for_the_token_and_has_it(name: str) -> None:
    (config,) = documents(name)
    starts = [command for key in ("head", "worker") for command in config[f"{key}_start_ray_commands"]]
    assert all("RAY_AUTH_MODE=token" in command for command in starts if "ray start" in command)
    assert config["file_mounts"] == {"~/.ray/auth_token": "~/.ray/auth_token"}


def test_a_ray_job_is_one_and_a_misspelt_field_is_noticed() -> None:
    (job,) = documents("rayjob.yaml")
    check_ray_job(job)
    assert job["spec"]["shutdownAfterJobFinishes"] is True
    assert job["spec"]["rayClusterSpec"]["authOptions"] == {"mode": "token"}
    worker = ("rayClusterSpec", "workerGroupSpecs", 0)
    for path, field, value in (
        ((), "shutdownAfterJobFinish", True),
        ((), "activeDeadlineSeconds", "1h"),
        (("rayClusterSpec",), "authOption", {}),
        ((*worker, "template", "spec", "containers", 0), "resource", {}),
    ):
        bad = copy.deepcopy(job)
        part: Any = bad["spec"]
        for step in path:
            part = part[step]
        part[field] = value
        with pytest.raises(jsonschema.ValidationError):
            check_ray_job(bad)


def test_the_nightly_objects_are_what_kubernetes_takes() -> None:
    objects = documents("nightly.yaml")
    assert [item["kind"] for item in objects] == ["ServiceAccount", "Role", "RoleBinding", "CronJob"]
    for item in objects:
        check_kubernetes(item["kind"], item)
    night = objects[-1]["spec"]
    assert night["concurrencyPolicy"] == "Forbid"
    with pytest.raises(jsonschema.ValidationError):
        check_kubernetes("CronJob", {**objects[-1], "spec": {**night, "concurrencyPolicies": "Forbid"}})


def test_the_pod_of_a_night_waits_for_its_ray_job(tmp_path: Path) -> None:
    """Its script, with a kubectl that tells what it was asked and how the job is."""
    (pod,) = containers(documents("nightly.yaml")[-1])
    script = pod["command"][2].replace("sleep 15", "sleep 0")
    kubectl = tmp_path / "kubectl"
    kubectl.write_text(
        '#!/bin/sh\nif [ "$1" = create ]; then echo rayjob.ray.io/splitsweep-night-x7; exit; fi\n'
        'echo "$2" >> asked\nif [ "$(wc -l < asked)" -lt 3 ]; then echo "Running RUNNING"; else echo "$END"; fi\n'
    )
    kubectl.chmod(0o755)
    for end, code in (("Complete SUCCEEDED", 0), ("Complete FAILED", 1), ("Failed ", 1)):
        (tmp_path / "asked").unlink(missing_ok=True)
        environment = {"PATH": f"{tmp_path}:/usr/bin:/bin", "END": end}
        found = subprocess.run(["/bin/sh", "-ec", script], cwd=tmp_path, env=environment, check=False)
        assert found.returncode == code
        assert (tmp_path / "asked").read_text().splitlines() == ["rayjob.ray.io/splitsweep-night-x7"] * 3


@pytest.mark.parametrize("name", ["rayjob.yaml", "nightly.yaml"])
def test_every_container_says_what_it_needs(name: str) -> None:
    found = [container for document in documents(name) for container in containers(document)]
    assert found
    for container in found:
        assert {"cpu", "memory"} <= set(container["resources"]["requests"])


def test_entrypoints_are_commands_that_there_are() -> None:
    from sweep.cli import COMMANDS

    names = {command.__name__ for command in COMMANDS}
    text = "".join(file.read_text() for file in TEMPLATES.glob("*.yaml"))
    found = re.findall(r"^(?:  entrypoint: |#   )splitsweep ([a-z]+)", text, re.MULTILINE)
    assert set(found) == {"run", "nightly"} <= names
