"""The floor plan holds: imports go down the map of docs/structure.md only, in no circle, and no folder is crowded."""

from __future__ import annotations

import ast
from collections import Counter
from graphlib import TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).parent.parent
PACKAGES = ("core", "sweep", "cluster")
MODULES = sorted(path.relative_to(ROOT) for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
MOST_FILES = 15


def floors() -> dict[str, int]:
    """Each place of the map with the number of its floor, the uppermost being 0."""
    text = (ROOT / "docs" / "structure.md").read_text().split("## Which way imports go")[1].split("## ")[0]
    rows = [line.split() for line in text.splitlines() if line.startswith("    ")]
    return {place: floor for floor, row in enumerate(rows) for place in row}


def place_of(module: Path, places: dict[str, int]) -> str:
    """The place of the map that a module belongs to: the file itself, or the innermost folder that stands there."""
    return next(str(path) for path in (module, *module.parents) if str(path) in places)


def imported(module: Path) -> set[Path]:
    """The files of this project that a module imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse((ROOT / module).read_text())):
        names = [node.module] if isinstance(node, ast.ImportFrom) and node.module else []
        names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        for name in names:
            if name.split(".")[0] in PACKAGES:
                path = Path(*name.split("."))
                found.add(path / "__init__.py" if (ROOT / path).is_dir() else path.with_suffix(".py"))
    return found


def test_every_module_belongs_to_a_place_of_the_map() -> None:
    places = floors()
    assert {place_of(module, places) for module in MODULES} == set(places)


def test_imports_go_down_the_map_only() -> None:
    places = floors()
    wrong = []
    for module in MODULES:
        here = place_of(module, places)
        for target in imported(module):
            there = place_of(target, places)
            if here != there and places[here] >= places[there]:
                wrong.append(f"{module} imports {target}")
    assert wrong == []


def test_no_modules_import_each_other_in_a_circle() -> None:
    graph = {module: imported(module) for module in MODULES}
    assert len(list(TopologicalSorter(graph).static_order())) >= len(MODULES)  # CycleError names the circle


def test_no_folder_holds_more_files_than_a_reader_can_survey() -> None:
    folders = ("core", "sweep", "cluster", "tests", "docs", "examples", "benchmarks")
    files = [path for folder in folders for path in (ROOT / folder).rglob("*") if path.is_file()]
    count = Counter(path.parent for path in files if "__pycache__" not in path.parts)
    assert {str(folder.relative_to(ROOT)): n for folder, n in count.items() if n > MOST_FILES} == {}
