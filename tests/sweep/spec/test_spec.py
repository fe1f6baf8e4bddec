"""What a spec means: which configs, in which order, and what of the file and the overrides they come from."""

import dataclasses
import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.config import Config, field_text, make_config
from core.identity import config_id
from sweep.errors import SpecError
from sweep.spec.configs import Spec, load_spec, resolved_text
from sweep.spec.grid import Grid, grid_points, shared_point, without_shared_points
from sweep.spec.values import parse_override

GIB = 2**30
EXAMPLES = Path(__file__).parents[3] / "examples"


@pytest.fixture
def spec_path(tmp_path: Path) -> Path:
    return tmp_path / "sweep.toml"


def load(path: Path, text: str, *overrides: str) -> Spec:
    path.write_text('name = "test"\n' + text)
    return load_spec(path, overrides)


def test_a_grid_is_the_full_product_of_its_lists_with_the_last_changing_fastest(spec_path: Path) -> None:
    spec = load(spec_path, '[[grid]]\nsplit = ["lazy", "eager"]\nvcpus = [2, 4, 8]')
    assert [(config.split, config.vcpus) for config in spec.configs] == [
        ("lazy", 2),
        ("lazy", 4),
        ("lazy", 8),
        ("eager", 2),
        ("eager", 4),
        ("eager", 8),
    ]


def test_grids_follow_each_other_and_fixed_holds_for_all(spec_path: Path) -> None:
    spec = load(spec_path, '[fixed]\nbacking = "1G"\n[[grid]]\nvcpus = [2, 4]\n[[grid]]\nmmu = "shadow"\nvcpus = [4]')
    assert tuple(spec.configs) == (
        make_config({"backing": "1G", "vcpus": 2}),
        make_config({"backing": "1G", "vcpus": 4}),
        make_config({"backing": "1G", "vcpus": 4, "mmu": "shadow"}),
    )


def test_fixed_alone_is_one_config(spec_path: Path) -> None:
    spec = load(spec_path, '[fixed]\nvcpus = 3\nmem_per_vcpu = "64MiB"\nkernel = 6.1\npml = false')
    assert tuple(spec.configs) == (Config(vcpus=3, mem_per_vcpu=2**26, kernel="6.1", pml=False),)


def test_sizes_may_be_texts_or_bytes(spec_path: Path) -> None:
    spec = load(spec_path, '[[grid]]\nmem_per_vcpu = ["1.5GiB", 1073741824]')
    assert [config.mem_per_vcpu for config in spec.configs] == [3 * GIB // 2, GIB]


def test_the_total_memory_is_shared_out_among_the_vcpus(spec_path: Path) -> None:
    spec = load(spec_path, '[fixed]\nmem_total = "4GiB"\n[[grid]]\nvcpus = [1, 2, 8]')
    assert [config.mem_per_vcpu for config in spec.configs] == [4 * GIB, 2 * GIB, GIB // 2]
    assert [config.mem_total for config in spec.configs] == [4 * GIB] * 3


def test_an_override_of_the_total_replaces_the_memory_of_each_vcpu_and_the_other_way_round(spec_path: Path) -> None:
    each = '[fixed]\nmem_per_vcpu = "1GiB"\n[[grid]]\nvcpus = [2, 4]'
    assert [c.mem_per_vcpu for c in load(spec_path, each, "mem_total=4GiB").configs] == [2 * GIB, GIB]
    total = '[[grid]]\nmem_total = ["4GiB", "8GiB"]\nvcpus = [2, 4]'
    assert [c.mem_per_vcpu for c in load(spec_path, total, "mem_per_vcpu=1GiB").configs] == [GIB, GIB]


def test_an_override_of_another_size_leaves_the_memory_alone(spec_path: Path) -> None:
    spec = load(spec_path, '[fixed]\nmem_per_vcpu = "2GiB"\nbacking = "2M"', "clear_chunk=0")
    assert [config.mem_per_vcpu for config in spec.configs] == [2 * GIB]


def test_where_may_ask_for_the_total(spec_path: Path) -> None:
    spec = load(spec_path, "where = \"mem_total <= '4GiB'\"\n[[grid]]\nvcpus = [2, 4, 8]")
    assert [config.vcpus for config in spec.configs] == [2, 4]


def test_where_may_leave_out_totals_that_do_not_divide(spec_path: Path) -> None:
    spec = load(spec_path, 'where = "mem_total % vcpus = 0"\n[[grid]]\nmem_total = ["1GiB"]\nvcpus = [2, 3]')
    assert [config.vcpus for config in spec.configs] == [2]


def test_a_byte_order_mark_is_no_mistake(spec_path: Path) -> None:
    spec_path.write_bytes(b'\xef\xbb\xbfname = "test"\n[fixed]\nvcpus = 3\n')
    assert [config.vcpus for config in load_spec(spec_path).configs] == [3]


def test_points_that_differ_in_fields_without_effect_are_merged_and_counted(spec_path: Path) -> None:
    spec = load(spec_path, '[[grid]]\nmmu = ["tdp", "shadow"]\nguest_page = ["4K", "2M", "1G"]\nbacking = ["1G"]')
    assert [(config.mmu, config.guest_page) for config in spec.configs] == [
        ("tdp", None),
        ("shadow", "4K"),
        ("shadow", "2M"),
        ("shadow", "1G"),
    ]
    assert spec.merged == 2


def test_where_keeps_the_points_of_which_it_is_true(spec_path: Path) -> None:
    grid = '[[grid]]\nmmu = ["tdp", "legacy_tdp"]\nvcpus = [64, 128]'
    spec = load(spec_path, f"where = \"NOT (mmu = 'tdp' AND vcpus > 64)\"\n{grid}")
    assert [(config.mmu, config.vcpus) for config in spec.configs] == [
        ("tdp", 64),
        ("legacy_tdp", 64),
        ("legacy_tdp", 128),
    ]
    assert spec.excluded == 1


def test_where_sees_defaults_and_values_as_the_results_show_them(spec_path: Path) -> None:
    spec = load(spec_path, 'where = "NOT pml AND iterations = 2"\n[[grid]]\nmmu = ["tdp", "shadow"]')
    assert [config.mmu for config in spec.configs] == ["shadow"]  # write-protection is all that tracks shadow pages


def test_where_may_leave_out_combinations_that_cannot_exist(spec_path: Path) -> None:
    switches = "[[grid]]\nmanual_protect = [true, false]\ninitially_all_set = [true, false]"
    spec = load(spec_path, f'where = "manual_protect OR NOT initially_all_set"\n{switches}')
    assert len(spec.configs) == 3
    with pytest.raises(SpecError, match=r"\[\[grid\]\] 1: initially_all_set: true needs manual_protect = true"):
        load(spec_path, switches)


def test_a_sample_has_as_many_points_as_it_says(spec_path: Path) -> None:
    ranges = 'vcpus = { low = 1, high = 4096 }\nsplit = ["lazy", "eager"]'
    text = f'[sample]\nn = 20\nmethod = "latin"\n[sample.ranges]\n{ranges}'
    spec = load(spec_path, text)
    assert len(spec.configs) + spec.merged == 20
    assert {config.split for config in spec.configs} == {"lazy", "eager"}


def test_an_override_replaces_the_value_in_fixed(spec_path: Path) -> None:
    spec = load(spec_path, "[fixed]\nvcpus = 2\niterations = 5", "vcpus=8")
    assert tuple(spec.configs) == (Config(vcpus=8, iterations=5),)


def test_an_override_replaces_the_list_of_every_grid(spec_path: Path) -> None:
    text = '[[grid]]\nvcpus = [2, 4]\nmmu = "tdp"\n[[grid]]\nvcpus = [8]\nmmu = "shadow"'
    spec = load(spec_path, text, "vcpus=3")
    assert [(config.mmu, config.vcpus) for config in spec.configs] == [("tdp", 3), ("shadow", 3)]


def test_an_override_with_a_list_makes_a_grid_axis(spec_path: Path) -> None:
    spec = load(spec_path, "[fixed]\nvcpus = 2", "vcpus=4,8", "mem_per_vcpu=64MiB,1GiB")
    assert [(config.vcpus, config.mem_per_vcpu) for config in spec.configs] == [
        (4, 2**26),
        (4, GIB),
        (8, 2**26),
        (8, GIB),
    ]


def test_an_override_adds_a_field_to_every_grid(spec_path: Path) -> None:
    spec = load(spec_path, "[[grid]]\nvcpus = [2]\n[[grid]]\nvcpus = [4]", "split=lazy,eager")
    assert [(config.vcpus, config.split) for config in spec.configs] == [
        (2, "lazy"),
        (2, "eager"),
        (4, "lazy"),
        (4, "eager"),
    ]


def test_an_override_with_a_list_makes_choices_of_a_sample(spec_path: Path) -> None:
    text = '[sample]\nn = 16\nmethod = "sobol"\n[sample.ranges]\nvcpus = { low = 1, high = 64 }\n[fixed]\nmmu = "tdp"'
    spec = load(spec_path, text, "vcpus=2,4", "mmu=shadow")
    assert {(config.mmu, config.vcpus) for config in spec.configs} == {("shadow", 2), ("shadow", 4)}


def test_grids_that_an_override_makes_overlap_are_run_once(spec_path: Path) -> None:
    text = '[[grid]]\nmmu = "tdp"\nvcpus = [2, 4]\n[[grid]]\nmmu = "shadow"\nvcpus = [4, 8]'
    spec = load(spec_path, text, "mmu=nested")
    assert [config.vcpus for config in spec.configs] == [2, 4, 8]


def test_a_spec_too_large_is_refused_without_making_its_points(spec_path: Path) -> None:
    numbers = list(range(1, 1001))
    with pytest.raises(SpecError, match="1,000,000,000 points are too many; allowed: 1,000,000"):
        load(spec_path, f"[[grid]]\nvcpus = {numbers}\niterations = {numbers}\nslots = {numbers}")


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.toml")), ids=lambda path: path.stem)
def test_every_example_is_a_valid_spec_without_points_to_merge(path: Path) -> None:
    assert load_spec(path).merged == 0


def test_the_cover_letter_has_the_configs_of_the_six_tables() -> None:
    configs = load_spec(EXAMPLES / "cover_letter.toml").configs
    vcpus = (2, 4, 8, 16, 32, 64)
    common = {"mem_per_vcpu": GIB, "backing": "1G"}
    split_at_enable = {**common, "mmu": "legacy_tdp", "initially_all_set": False, "iterations": 1}
    split_at_clear = {**common, "mmu": "legacy_tdp", "initially_all_set": True, "iterations": 2}
    split_at_clear |= {"split_cache": "refilled"}  # as v1 of the series, whose tables these are
    shadow = {**common, "mmu": "shadow", "initially_all_set": False, "iterations": 1}
    machines = (split_at_enable, split_at_clear, {**shadow, "write_percent": 100}, {**shadow, "write_percent": 20})
    assert set(configs) == {
        make_config({**machine, "split": split, "vcpus": count})
        for machine, split, count in itertools.product(machines, ("lazy", "eager"), vcpus)
    }


AXES: dict[str, list[object]] = {
    "mmu": ["tdp", "legacy_tdp", "shadow", "nested"],
    "split": ["lazy", "eager", "fault"],
    "pml": [True, False],
    "vcpus": [1, 2, 96],
    "mem_per_vcpu": [GIB, 3 * GIB // 2, 5 * GIB + 2**21],
    "write_percent": [100, 33, 0],
    "kernel": ["6.1", "6.12", "7.3"],
}


@st.composite
def grids(draw: st.DrawFn) -> Grid:
    names = draw(st.lists(st.sampled_from(sorted(AXES)), min_size=1, max_size=4, unique=True))
    return {name: tuple(draw(st.lists(st.sampled_from(AXES[name]), min_size=1, unique=True))) for name in names}


def named_points(several: Iterator[Grid] | tuple[Grid, ...] | list[Grid]) -> list[tuple[object, ...]]:
    """The points of grids with the defaults of the fields that they do not name."""
    defaults = {name: getattr(Config(), name) for name in AXES}
    return [tuple({**defaults, **point}[name] for name in AXES) for grid in several for point in grid_points(grid)]


@given(st.lists(grids(), min_size=1, max_size=4))
def test_removing_shared_points_keeps_every_point_once(several: list[Grid]) -> None:
    apart = without_shared_points(several)
    points = named_points(apart)
    assert len(points) == len(set(points))
    assert set(points) == set(named_points(several))


@given(grids(), grids())
def test_a_shared_point_is_found_exactly_when_there_is_one(grid: Grid, other: Grid) -> None:
    shared = shared_point(grid, other)
    assert (shared is not None) == bool(set(named_points([grid])) & set(named_points([other])))


WORDS = ["vcpus=3", "vcpus=2,4", "mmu=shadow", "mmu=tdp,nested", "mem_per_vcpu=64MiB", "pml=false", "kernel=6.1,7.3"]


@settings(deadline=None, max_examples=25)  # each one opens several databases
@given(
    grids=st.lists(grids(), max_size=3),
    words=st.lists(st.sampled_from(WORDS), max_size=3, unique_by=lambda word: word[:3]),
)
def test_the_resolved_text_gives_the_same_configs(
    grids: list[Grid], words: list[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("resolved")
    lines = ['where = "vcpus < 96 OR mmu <> \'fau\\"lt\'"', "[fixed]", "seed = 7", 'access_order = "random"']
    for grid in without_shared_points(grids):
        lines += ["[[grid]]", *(f"{name} = {str(list(values)).lower()}" for name, values in grid.items())]
    spec = load(folder / "sweep.toml", "\n".join(lines), *words)
    (folder / "resolved.toml").write_text(resolved_text(spec))
    again = load_spec(folder / "resolved.toml")
    assert tuple(again.configs) == tuple(spec.configs)
    assert again.name == spec.name
    assert resolved_text(again) == resolved_text(spec)


@given(st.integers(1, 2**34).map(lambda pages: pages * 4096))
def test_every_size_is_read_back_as_it_is_written(size: int) -> None:
    assert parse_override(f"mem_per_vcpu={field_text('mem_per_vcpu', size)}") == ("mem_per_vcpu", (size,))


def test_the_resolved_text_keeps_the_total(spec_path: Path) -> None:
    spec = load(spec_path, '[[grid]]\nmem_total = ["4GiB", "8GiB"]\nvcpus = [2, 4]')
    spec_path.write_text(resolved_text(spec))
    assert tuple(load_spec(spec_path).configs) == tuple(spec.configs)


def test_the_resolved_text_of_a_sample_gives_the_same_configs(spec_path: Path) -> None:
    text = """
        [sample]
        n = 50
        method = "sobol"
        seed = 9
        [sample.ranges]
        vcpus = { low = 2, high = 512, log = true }
        mem_per_vcpu = { low = "1GiB", high = "9GiB", step = "2GiB" }
        mmu = ["tdp", "nested"]
    """
    spec = load(spec_path, text, "split=lazy,fault")
    spec_path.write_text(resolved_text(spec))
    assert tuple(load_spec(spec_path).configs) == tuple(spec.configs)


def test_points_that_are_judged_together_are_the_configs_that_they_mean_one_by_one(spec_path: Path) -> None:
    axes = {"seed": (3, 1, 2), "access_order": ("random", "sequential"), "repeat": (1, 0), "vcpus": (2, 1)}
    text = "\n".join(f"{name} = {list(values)}" for name, values in axes.items()).replace("'", '"')
    spec = load(spec_path, f"[[grid]]\n{text}\n[[grid]]\nvcpus = [4]\nrepeat = [7, 8]")
    points = [dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())]
    one_by_one = [make_config(point) for point in [*points, {"vcpus": 4, "repeat": 7}, {"vcpus": 4, "repeat": 8}]]
    assert tuple(spec.configs) == tuple(dict.fromkeys(one_by_one))
    assert [f"{name:016x}" for name in spec.configs.names.tolist()] == [config_id(config) for config in spec.configs]
    assert spec.merged == len(one_by_one) - len(spec.configs)
    kinds = {dataclasses.replace(config, seed=1, repeat=0) for config in spec.configs}
    groups = list(spec.configs.alike())
    assert {dataclasses.replace(config, seed=1, repeat=0) for config, _ in groups} == kinds
    assert sorted(place for _, places in groups for place in places.tolist()) == list(range(len(spec.configs)))


def test_where_may_ask_for_a_seed(spec_path: Path) -> None:
    text = 'where = "seed % 2 = 0 AND repeat < vcpus"\n[fixed]\naccess_order = "random"\n'
    spec = load(spec_path, f"{text}[[grid]]\nseed = [1, 2, 3, 4]\nrepeat = [0, 1]\nvcpus = [1, 2]")
    assert [(config.seed, config.repeat, config.vcpus) for config in spec.configs] == [
        *((2, 0, 1), (2, 0, 2), (2, 1, 2)),
        *((4, 0, 1), (4, 0, 2), (4, 1, 2)),
    ]
