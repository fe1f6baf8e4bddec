"""The documents stay true: the map of the tree, the table of parameters, and every link."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from core.config import FIELDS
from core.costs.profile import PARAMETERS, load_profile

ROOT = Path(__file__).parent.parent
DOCUMENTS = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md"), ROOT / "results" / "published" / "README.md"])


def tracked_files() -> list[Path]:
    """Files of the checkout, or everything beside this file where there is no git."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False).stdout.split()
    return [ROOT / name for name in listed] or [path for path in ROOT.rglob("*.py") if ".venv" not in path.parts]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_relative_link_leads_somewhere(document: Path) -> None:
    links = re.findall(r"\]\(([^)#]+)", document.read_text())
    broken = [link for link in links if "://" not in link and not (document.parent / link).exists()]
    assert broken == []


def test_the_map_names_every_module_of_core_and_every_folder() -> None:
    map_text = (ROOT / "docs" / "structure.md").read_text()
    places = {path.relative_to(ROOT) for path in tracked_files() if path.suffix == ".py"}
    modules = {str(place) for place in places if place.parts[0] == "core" and len(place.parts) == 2}
    folders = {"/".join(place.parts[:-1]) + "/" for place in places if len(place.parts) > 1}
    missing = {name for name in modules | folders if name not in map_text} - {"core/__init__.py", "core/"}
    assert {name for name in missing if not name.startswith("tests/")} == set()


def test_the_map_names_nothing_that_is_gone() -> None:
    rows = re.findall(r"^\| ([^|]+) \|", (ROOT / "docs" / "structure.md").read_text(), re.MULTILINE)
    paths = [path for row in rows for path in row.split(", ") if "/" in path]
    assert [path for path in paths if not (ROOT / path).exists()] == []


def test_every_parameter_stands_in_the_model_with_its_value() -> None:
    text = (ROOT / "docs" / "model.md").read_text()
    profile = load_profile("cascade-lake-2022")
    missing = [
        name for name, meaning in PARAMETERS.items() if f"| {name} | {profile[name]:.3g} | {meaning} |" not in text
    ]
    assert missing == []


def test_every_field_stands_in_the_description_of_specs() -> None:
    text = (ROOT / "docs" / "spec.md").read_text()
    assert [name for name in FIELDS if f"| {name} |" not in text] == []
