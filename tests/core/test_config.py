"""Configurations: what is accepted, what is normalised, and what is refused with which sentence."""

from __future__ import annotations

import hashlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.config import (
    LIVE_FIELDS,
    OPTIONAL_FIELDS,
    Config,
    config_notes,
    config_record,
    config_text,
    counterfactuals,
    make_config,
    parse_field,
)
from core.costs.profile import load_profile
from core.errors import ConfigError
from core.identity import ENGINE_VERSION, config_id, identifying_record
from tests.core.configurations import configurations


def test_defaults_are_those_of_the_benchmark() -> None:
    config = make_config({})
    assert config == Config()
    assert (config.vcpus, config.mem_per_vcpu, config.backing, config.mmu, config.split) == (
        1,
        2**30,
        "4K",
        "tdp",
        "eager",
    )
    assert (config.manual_protect, config.initially_all_set, config.iterations) == (True, True, 2)


def test_sizes_read_as_people_write_them() -> None:
    assert make_config({"mem_per_vcpu": "64MiB"}).mem_per_vcpu == 64 * 2**20
    assert make_config({"mem_per_vcpu": "29.5GiB"}).mem_per_vcpu == 59 * 2**29


def test_a_kernel_written_as_a_number_is_meant_as_a_name() -> None:
    assert make_config({"kernel": 6.12}).kernel == "6.12"


def test_without_manual_protection_nothing_starts_all_set() -> None:
    assert not make_config({"manual_protect": False}).initially_all_set


@pytest.mark.parametrize(
    ("values", "field", "normalised"),
    [
        ({"mmu": "tdp", "guest_page": "2M"}, "guest_page", None),
        ({"mmu": "legacy_tdp", "guest_roots": 8}, "guest_roots", 1),
        ({"mmu": "shadow", "pml": True}, "pml", False),
        ({"mmu": "shadow", "backing": "2M"}, "guest_page", "2M"),
        ({"mmu": "nested", "backing": "2M"}, "guest_page", "1G"),
        ({"write_percent": 100, "write_pattern": "random"}, "write_pattern", "stride"),
        ({"write_percent": 100, "populate_writes": "same"}, "populate_writes", "all"),
        ({"seed": 7}, "seed", 1),
        ({"seed": 7, "write_percent": 20, "write_pattern": "random"}, "seed", 7),
        ({"seed": 7, "access_order": "random"}, "seed", 7),
        ({"touch_memory": True}, "touch_memory", False),
        ({"pin_vcpus": False}, "pin_vcpus", True),
        ({"engine": "live", "touch_memory": True}, "touch_memory", True),
        ({"engine": "live", "pin_vcpus": False}, "pin_vcpus", False),
    ],
)
def test_a_field_without_effect_is_normalised_away(values: dict[str, object], field: str, normalised: object) -> None:
    assert getattr(make_config(values), field) == normalised


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"vcpu": 2}, "vcpu: no such field; allowed: vcpus, mem_per_vcpu,"),
        ({"vcpus": 0}, "vcpus: 0 is out of range; allowed: 1 to 4096"),
        ({"vcpus": True}, "vcpus: true is not a whole number"),
        ({"vcpus": "2"}, "vcpus: '2' is not a whole number"),
        ({"write_percent": 101}, "write_percent: 101 is out of range; allowed: 0 to 100"),
        ({"backing": "4M"}, "backing: '4M' is not allowed; allowed: 4K, 2M, 1G"),
        ({"pml": "yes"}, "pml: 'yes' is not allowed; allowed: true, false"),
        ({"mem_per_vcpu": 5000}, "mem_per_vcpu: 5000 bytes is no multiple of the 4096-byte page"),
        ({"mem_per_vcpu": "1PB"}, "mem_per_vcpu: '1PB' is not a size; write it like 64MiB"),
        ({"mem_per_vcpu": "3MiB", "backing": "2M"}, "is not made of whole 2M pages; allowed: vcpus x mem_per_vcpu"),
        ({"mem_per_vcpu": "4KiB"}, "is not made of whole 64-page words of the dirty bitmap"),
        ({"mem_per_vcpu": "1GiB", "backing": "1G", "slots": 2}, "a multiple of 2GiB"),
        ({"vcpus": 4096, "mem_per_vcpu": "1TiB"}, "is over 64TiB"),
        (
            {"mem_per_vcpu": "8TiB"},
            "slots: 8TiB in 1 slot(s): a memslot holds at most 2^31 - 1 pages, just under 8TiB; allowed: slots = 2 or",
        ),
        ({"mem_per_vcpu": "12TiB", "backing": "1G"}, "slots: 12TiB in 1 slot(s): "),
        ({"vcpus": 48, "mem_per_vcpu": "1TiB", "slots": 3}, "allowed: slots = 8 or more"),
        ({"address_spaces": 2}, "address_spaces: this field is called guest_roots now"),
        ({"initially_all_set": True, "manual_protect": False}, "initially_all_set: true needs manual_protect = true"),
        ({"granularity": "2M"}, "granularity: 2M needs 2M or 1G leaves, but backing = 4K"),
        ({"granularity": "2M", "backing": "2M", "mmu": "shadow", "guest_page": "4K"}, "but guest_page = 4K"),
        ({"concurrent": True}, "concurrent: true needs huge pages to split, but backing = 4K; allowed there: false"),
        (
            {"engine": "kvm", "concurrent": True},
            "true is for engine = sim or live: the test's vCPUs rest during its ioctls",
        ),
        ({"engine": "qemu"}, "engine: 'qemu' is not allowed; allowed: sim, live, kvm"),
        ({"engine": "live", "touch_memory": 1}, "touch_memory: 1 is not allowed; allowed: true, false"),
        ({"label": "a b"}, "label: 'a b' is not allowed; allowed: up to 100 letters, digits and _ . : + / @ ~ = -"),
        ({"label": 7}, "label: 7 is not allowed; allowed: a text"),
        ({"pin_vcpus": "no"}, "pin_vcpus: 'no' is not allowed; allowed: true, false"),
    ],
)
def test_what_cannot_be_is_refused_with_field_value_and_remedy(values: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError) as error:
        make_config(values)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        (
            {"split": "lazy"},
            "counterfactual: split = lazy on tdp is what kernels before 6.2 do; 6.12 splits",
        ),
        ({"split": "lazy", "kernel": "7.3"}, "counterfactual: split = lazy on tdp is what kernels before 6.2 do; 7.3"),
        ({"split": "fault", "kernel": "6.1"}, "counterfactual: split = fault on tdp came with kernel 6.2; 6.1 drops"),
        ({"mmu": "legacy_tdp"}, "counterfactual: split = eager on legacy_tdp follows the thread's series"),
        ({"mmu": "shadow"}, "counterfactual: split = eager on shadow follows the thread's series"),
        ({"mmu": "nested", "split": "fault"}, "counterfactual: split = fault on nested was proposed in the thread"),
        ({"granularity": "2M"}, "counterfactual: granularity = 2M was proposed in the thread; no kernel has it"),
    ],
)
def test_what_no_kernel_does_is_allowed_and_called_counterfactual(values: dict[str, object], sentence: str) -> None:
    notes = config_notes(make_config({"backing": "2M"} | values))
    assert [note for note in notes if note.startswith(sentence)]


@pytest.mark.parametrize(
    "values",
    [
        {"kernel": kernel, "mmu": mmu, "split": split}
        for mmu, splits in {
            "tdp": {"6.1": ("lazy", "eager"), "6.12": ("fault", "eager"), "7.3": ("fault", "eager")},
            "nested": dict.fromkeys(("6.1", "6.12", "7.3"), ("lazy", "eager")),
            "legacy_tdp": dict.fromkeys(("6.1", "6.12", "7.3"), ("lazy",)),
            "shadow": dict.fromkeys(("6.1", "6.12", "7.3"), ("lazy",)),
        }.items()
        for kernel, of_kernel in splits.items()
        for split in of_kernel
    ],
)
def test_what_a_kernel_does_is_not(values: dict[str, object]) -> None:
    assert config_notes(make_config({"backing": "2M"} | values)) == []


def test_where_nothing_can_be_split_no_way_of_splitting_is_counterfactual() -> None:
    assert counterfactuals(make_config({"split": "lazy", "backing": "4K"})) == []
    assert counterfactuals(make_config({"mmu": "shadow", "backing": "2M", "guest_page": "4K"})) == []


def test_eager_splitting_of_4k_backing_is_allowed_and_noted() -> None:
    notes = config_notes(make_config({"split": "eager", "backing": "4K"}))
    assert len(notes) == 1
    assert "split = eager does nothing here" in notes[0]


ANY_ENGINE = st.one_of(
    configurations(),
    configurations(engine="live"),
    configurations(engine="live", touch_memory=True, pin_vcpus=False),
)


@given(ANY_ENGINE)
def test_the_text_of_a_config_gives_the_same_config(config: Config) -> None:
    words = dict(word.split("=", 1) for word in config_text(config).split())
    assert make_config({name: parse_field(name, value) for name, value in words.items()}) == config


@given(ANY_ENGINE)
def test_the_record_of_a_config_gives_the_same_config(config: Config) -> None:
    assert make_config(config_record(config)) == config


@given(ANY_ENGINE, ANY_ENGINE)
def test_different_configs_have_different_ids(one: Config, other: Config) -> None:
    assert (config_id(one) == config_id(other)) == (one == other)


def test_results_from_before_there_was_a_choice_keep_their_names() -> None:
    assert not identifying_record(make_config({})).keys() & OPTIONAL_FIELDS.keys()
    assert {"working_set", "skew"} <= identifying_record(make_config({"working_set": 20, "skew": 90})).keys()


def test_skew_has_no_effect_where_the_working_set_is_everything() -> None:
    assert make_config({"skew": 80}) == make_config({})
    assert make_config({"working_set": 50, "skew": 80}).skew == 80


def test_results_from_before_the_live_engine_keep_their_names() -> None:
    assert not identifying_record(make_config({})).keys() & LIVE_FIELDS.keys()
    assert identifying_record(make_config({"engine": "live"})).keys() > LIVE_FIELDS.keys()


@given(configurations(), st.sampled_from(["", "mmu/v3"]))
def test_a_config_id_is_the_digest_of_its_fields_its_profile_and_the_engine_as_json(config: Config, label: str) -> None:
    named = make_config(config_record(config) | {"label": label})
    what = [identifying_record(named), load_profile(named.profile).digest, ENGINE_VERSION]
    assert config_id(named) == hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:16]


def test_a_label_names_a_config_only_where_there_is_one() -> None:
    assert "label" not in identifying_record(make_config({}))
    assert identifying_record(make_config({"label": "v3"}))["label"] == "v3"
    assert config_id(make_config({"label": "v3"})) != config_id(make_config({}))
    assert config_text(make_config({"label": "mmu/v3-rc1"})).split()[-1] == "label=mmu/v3-rc1"
