"""One configuration: what is simulated or measured, validated once, frozen, and named by a stable hash.

Field names are those of the model (docs/model.md). A combination that cannot exist is an error that says why; a
field that has no effect for the chosen MMU is accepted and normalised, so that equal machines have equal
`config_id`s.
"""

from __future__ import annotations

import re
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from core.errors import ConfigError
from core.sizes import LEVELS, PAGE_BYTES, PAGE_SIZES, PAGES_PER_2M, format_size, parse_size

CHOICES: Final[dict[str, tuple[str, ...]]] = {
    "backing": ("4K", "2M", "1G"),
    "write_pattern": ("stride", "random"),
    "access_order": ("sequential", "random"),
    "mmu": ("tdp", "legacy_tdp", "shadow", "nested"),
    "split": ("eager", "lazy", "fault"),
    "split_cache": ("kept", "refilled"),
    "granularity": ("4K", "2M"),
    "guest_page": ("4K", "2M", "1G"),
    "populate_writes": ("all", "same"),
    "kernel": ("6.1", "6.12", "7.3"),
    "preempt": ("none", "voluntary", "full"),
    "engine": ("sim", "live", "kvm"),
}

BOUNDS: Final[dict[str, tuple[int, int]]] = {
    "vcpus": (1, 4096),  # KVM_MAX_VCPUS of current kernels
    "write_percent": (0, 100),
    "working_set": (1, 100),
    "skew": (1, 100),
    "guest_roots": (1, 4096),
    "slots": (1, 32764),  # KVM_USER_MEM_SLOTS
    "iterations": (1, 1000),
    "think_ns": (0, 1_000_000_000),
    "seed": (1, 2**31 - 4098),  # the generator's state is seed + vCPU index, below its modulus 2^31 - 1
    "repeat": (0, 1_000_000),
}
CONCURRENT_FIELDS: Final[dict[str, Any]] = {"preempt": "voluntary", "clear_chunk": 0, "think_ns": 0}
"""The fields that only running vCPUs ask for, with the values they have where vCPUs are idle during the ioctls."""

LIVE_FIELDS: Final[dict[str, Any]] = {"touch_memory": False, "pin_vcpus": True}
"""The fields that only the live engine asks for, with the values they have for all others."""

OPTIONAL_FIELDS: Final[dict[str, Any]] = {"label": "", "split_cache": "kept", "working_set": 100, "skew": 100}
"""Fields that came after the first results, with the values that all had before there was a choice."""

LABEL: Final = re.compile(r"[\w.:+/@~=-]{0,100}")
"""What a label may be: a word that a shell and a list of overrides take as it is."""

SLOT_PAGES_UNIT: Final = 64
"""The dirty bitmap is walked in words of 64 pages, so a memslot holds a whole number of words."""

MAX_SLOT_PAGES: Final = 2**31 - 1
"""KVM_MEM_MAX_NR_PAGES: a memslot of 8 TiB is one page too large."""

MAX_PAGES: Final = 2**34  # 64 TiB: keeps 4K page numbers and picosecond sums far inside 64 bits


@dataclass(frozen=True, slots=True)
class Config:
    """A virtual machine, its MMU, how its memory is logged and how its vCPUs touch it. Build with `make_config`."""

    vcpus: int = 1
    mem_per_vcpu: int = 2**30  # bytes
    backing: str = "4K"
    write_percent: int = 100
    write_pattern: str = "stride"
    access_order: str = "sequential"
    working_set: int = 100  # percent of its share that a vCPU visits after populate, from the first page on
    skew: int = 100  # percent of the accesses that go there; the others go round the rest of the share
    partitioned: bool = True
    mmu: str = "tdp"
    split: str = "eager"
    split_cache: str = "kept"  # between the splits of a clear; the thread's first series filled one for each split
    pml: bool = True
    initially_all_set: bool = True
    manual_protect: bool = True
    granularity: str = "4K"
    guest_page: str | None = None  # None: as large as the backing (shadow), 1G (nested), without meaning elsewhere
    guest_roots: int = 1
    slots: int = 1
    iterations: int = 2
    populate_writes: str = "all"
    kernel: str = "6.12"
    concurrent: bool = False  # the vCPUs run while the ioctls do
    preempt: str = "voluntary"  # concurrent: the preemption model of the host's kernel
    clear_chunk: int = 0  # concurrent: bytes of guest memory that one clear ioctl takes; 0: a whole slot
    think_ns: int = 0  # concurrent: what the guest computes between two accesses
    seed: int = 1
    engine: str = "sim"
    touch_memory: bool = False  # live: accesses go to real memory, besides the page tables
    pin_vcpus: bool = True  # live: each vCPU process stays on one CPU, where the host allows it
    profile: str = "cascade-lake-2022"
    repeat: int = 0
    label: str = ""  # a word of the user's own that tells runs apart, such as a patch or a commit

    @property
    def pages(self) -> int:
        """4 KiB pages of guest memory under test."""
        return self.vcpus * self.pages_per_vcpu

    @property
    def mem_total(self) -> int:
        """Bytes of guest memory under test."""
        return self.vcpus * self.mem_per_vcpu

    @property
    def pages_per_vcpu(self) -> int:
        return self.mem_per_vcpu // PAGE_BYTES

    @property
    def pages_in_share(self) -> int:
        """4 KiB pages that a vCPU may visit: its own, or all."""
        return self.pages_per_vcpu if self.partitioned else self.pages

    @property
    def pages_in_working_set(self) -> int:
        """Those of its share that a vCPU visits once in every pass after populate: the first ones."""
        return max(1, self.pages_in_share * self.working_set // 100)

    @property
    def visits_per_pass(self) -> int:
        """Accesses of a vCPU's pass after populate: one to each page of the working set, and what goes elsewhere."""
        return self.pages_in_working_set * 100 // self.skew

    @property
    def pages_per_slot(self) -> int:
        return self.pages // self.slots

    @property
    def busy_cpus(self) -> int:
        """CPUs that a live run keeps busy: one for each vCPU, and the ioctl thread's if it runs while they do."""
        return self.vcpus + int(self.concurrent)

    @property
    def leaf_level(self) -> int:
        """The largest level a leaf SPTE can have: bounded by the backing and by the guest's own page size."""
        if self.guest_page is None:
            return LEVELS[self.backing]
        return min(LEVELS[self.backing], LEVELS[self.guest_page])

    @property
    def track_level(self) -> int:
        """The level at which a logged slot is mapped and tracked."""
        return LEVELS[self.granularity]

    @property
    def is_seeded(self) -> bool:
        """Whether anything is drawn at random; else all seeds are one."""
        return self.write_pattern == "random" or self.access_order == "random"


FIELDS: Final[dict[str, Any]] = typing.get_type_hints(Config)
"""Every field with its type, in the order of the result columns."""

UNJUDGED: Final = ("seed", "repeat")
"""Fields that no rule about a config asks for, nor its estimate: configs that differ in them alone are judged together.

A seed is given up where nothing is drawn.
"""

_DEFAULTS: Final[dict[str, Any]] = {name: getattr(Config(), name) for name in FIELDS}

MEM_TOTAL: Final = "mem_total"
"""Another way to say mem_per_vcpu: the memory of all vCPUs together, of which each has an equal share."""

MEMORY_NAMES: Final = ("mem_per_vcpu", MEM_TOTAL)
SIZES: Final = (*MEMORY_NAMES, "clear_chunk")
RENAMED: Final = {"address_spaces": "guest_roots"}
"""Fields that had another name once. KVM's own address spaces (as_id) are something else: SMM's memory."""

NAMES: Final = tuple(word for name in FIELDS for word in ((name, MEM_TOTAL) if name == "mem_per_vcpu" else (name,)))
"""What values may be given for: the fields, and mem_total."""


def make_config(values: Mapping[str, object]) -> Config:
    """The validated, normalised Config of `values`; fields not named take their defaults.

    Raises ConfigError naming the field, the value and what is allowed.
    """
    checked: dict[str, Any] = {name: check_field(name, value) for name, value in values.items()}
    if MEM_TOTAL in checked:
        checked["mem_per_vcpu"] = _share_of_vcpu(checked)
        del checked[MEM_TOTAL]
    # KVM offers initially-all-set only with manual protection, so without the one the other's default is off too.
    checked.setdefault("initially_all_set", checked.get("manual_protect", True))
    config = Config(**_normalised(_DEFAULTS | checked))
    _check_combination(config)
    return config


def parse_field(name: str, text: str) -> object:
    """The value meant by `text`, as typed on a command line, for field `name`; ConfigError when there is none."""
    _check_name(name)
    if name in SIZES:
        return check_field(name, text)
    if FIELDS[name] is bool:
        if text.lower() not in ("true", "false"):
            raise ConfigError(name, f"{text!r} is not allowed; allowed: true, false")
        return text.lower() == "true"
    if FIELDS[name] is int:
        try:
            return int(text)
        except ValueError:
            raise ConfigError(name, f"{text!r} is not a whole number") from None
    return check_field(name, text)


def config_record(config: Config) -> dict[str, Any]:
    """Every field of the config as plain values, in column order; sizes in bytes."""
    return {name: getattr(config, name) for name in FIELDS}


def config_notes(config: Config) -> list[str]:
    """Sentences about choices that no kernel has, or that do nothing, for `run` and `explain`."""
    notes = counterfactuals(config)
    if config.split != "lazy" and config.leaf_level <= config.track_level:
        notes.append(
            f"split = {config.split} does nothing here: leaves are {config.granularity} or smaller already, "
            "so there is no huge page to split"
        )
    return notes


def counterfactuals(config: Config) -> list[str]:
    """What no kernel does of what `config` asks for, a sentence each.

    All of it runs: to ask what would be is what a model is for. But whatever shows such a config says so.
    """
    found = []
    if config.leaf_level > config.track_level:  # else there is nothing to split
        if config.mmu == "tdp" and config.split == "lazy" and config.kernel != "6.1":
            found.append(f"split = lazy on tdp is what kernels before 6.2 do; {config.kernel} splits at fault time")
        elif config.mmu == "tdp" and config.split == "fault" and config.kernel == "6.1":
            found.append("split = fault on tdp came with kernel 6.2; 6.1 drops the huge leaf (lazy)")
        elif config.mmu in ("legacy_tdp", "shadow") and config.split == "eager":
            found.append(f"split = eager on {config.mmu} follows the thread's series; kernels need tdp_mmu=Y for it")
        elif config.mmu != "tdp" and config.split == "fault":
            found.append(f"split = fault on {config.mmu} was proposed in the thread; no kernel has it")
    if config.granularity == "2M":
        found.append("granularity = 2M was proposed in the thread; no kernel has it")
    return [f"counterfactual: {sentence}" for sentence in found]


def config_text(config: Config) -> str:
    """The fields that differ from the defaults, as FIELD=VALUE words: what a user types to get this config."""
    deciding = {"mmu": config.mmu, "backing": config.backing, "manual_protect": config.manual_protect}
    default = make_config(deciding)  # the defaults of other fields follow from these
    words = []
    for name, value in config_record(config).items():
        if value == getattr(Config() if name in deciding else default, name) and name != "mmu":
            continue
        words.append(f"{name}={field_text(name, value)}")
    return " ".join(words)


def field_text(name: str, value: object) -> str:
    """A field's value as it is typed on a command line; `parse_field` reads it back."""
    if name in SIZES and isinstance(value, int):
        return format_size(value)
    return str(value).lower() if isinstance(value, bool) else str(value)


def _check_name(name: str) -> None:
    if name in RENAMED:
        raise ConfigError(name, f"this field is called {RENAMED[name]} now")
    if name not in NAMES:
        raise ConfigError(name, f"no such field; allowed: {', '.join(NAMES)}")


def check_field(name: str, value: object) -> object:
    """`value` as the field's own type, sizes in bytes; ConfigError if no config may have it."""
    _check_name(name)
    if name in SIZES:
        return _checked_size(name, value)
    if name in CHOICES:
        if name == "kernel" and isinstance(value, float):
            value = str(value)  # kernel = 6.12 reads as a number in TOML
        if value is None and isinstance(FIELDS[name], types.UnionType):
            return None
        if value not in CHOICES[name]:
            raise ConfigError(name, f"{_shown(value)} is not allowed; allowed: {', '.join(CHOICES[name])}")
        return value
    kind = FIELDS[name]
    if kind is int:
        if isinstance(value, bool) or not isinstance(value, int):
            raise ConfigError(name, f"{_shown(value)} is not a whole number")
        low, high = BOUNDS[name]
        if not low <= value <= high:
            raise ConfigError(name, f"{value} is out of range; allowed: {low} to {high}")
        return value
    if not isinstance(value, kind):
        allowed = "true, false" if kind is bool else "a text"
        raise ConfigError(name, f"{_shown(value)} is not allowed; allowed: {allowed}")
    if name == "label" and not LABEL.fullmatch(str(value)):
        raise ConfigError(name, f"{value!r} is not allowed; allowed: up to 100 letters, digits and _ . : + / @ ~ = -")
    return value


def _shown(value: object) -> str:
    """A value as a spec has it: true and false in small letters."""
    return str(value).lower() if isinstance(value, bool) else repr(value)


def _checked_size(name: str, value: object) -> int:
    if name == "clear_chunk" and value in (0, "0"):
        return 0
    if isinstance(value, str):
        try:
            value = parse_size(value)
        except ValueError as error:
            raise ConfigError(name, str(error)) from None
    if isinstance(value, bool) or not isinstance(value, int):
        raise ConfigError(name, f"{_shown(value)} is not a size; write it like 64MiB, 1GiB or 29.5GiB")
    if value <= 0 or value % PAGE_BYTES:
        raise ConfigError(name, f"{value} bytes is no multiple of the 4096-byte page; allowed: 4KiB, ...")
    return value


def _share_of_vcpu(checked: Mapping[str, Any]) -> int:
    """The mem_per_vcpu that a mem_total means."""
    if "mem_per_vcpu" in checked:
        raise ConfigError(MEM_TOTAL, "mem_per_vcpu is given too, and says the same in another way; keep one of them")
    total, vcpus = checked[MEM_TOTAL], checked.get("vcpus", 1)
    if total % (vcpus * PAGE_BYTES):
        raise ConfigError(
            MEM_TOTAL,
            f"{format_size(total)} does not give each of {vcpus} vCPUs the same number of 4096-byte pages; "
            f"allowed: a multiple of {format_size(vcpus * PAGE_BYTES)}",
        )
    return int(total // vcpus)


def _normalised(record: dict[str, Any]) -> dict[str, Any]:
    """The fields of a config, those that have no effect set to one fixed value."""
    if record["mmu"] in ("tdp", "legacy_tdp"):
        record |= {"guest_page": None, "guest_roots": 1}  # one direct tree, whatever the guest's tables look like
    else:
        record["pml"] = False  # write-protection is the only tracking of shadow pages
        if record["guest_page"] is None:
            record["guest_page"] = "1G" if record["mmu"] == "nested" else record["backing"]
    if record["split"] != "eager" or record["mmu"] == "tdp" or not record["initially_all_set"]:
        record["split_cache"] = "kept"  # only splits in a clear of the rmap MMUs have a cache to fill again
    if record["write_percent"] in (0, 100):
        record["write_pattern"] = "stride"
    if record["write_percent"] == 100:
        record["populate_writes"] = "all"
    if record["write_pattern"] == "stride" and record["access_order"] == "sequential":
        record["seed"] = 1
    if record["working_set"] == 100:
        record["skew"] = 100  # there is no rest to visit
    if record["engine"] != "live":
        record |= LIVE_FIELDS
    if not record["concurrent"]:
        record |= CONCURRENT_FIELDS
    return record


def _check_combination(config: Config) -> None:
    """Raise ConfigError for values that are fine alone and impossible together."""
    if config.initially_all_set and not config.manual_protect:
        raise ConfigError("initially_all_set", "true needs manual_protect = true (KVM offers it only there)")
    _check_concurrent(config)
    if config.pages > MAX_PAGES:
        raise ConfigError("mem_per_vcpu", f"{config.vcpus} vCPUs x {format_size(config.mem_per_vcpu)} is over 64TiB")
    unit = max(PAGE_SIZES[config.backing], SLOT_PAGES_UNIT)
    if config.pages_per_slot > MAX_SLOT_PAGES:
        least = -(-config.pages // MAX_SLOT_PAGES)
        even = next((slots for slots in range(least, BOUNDS["slots"][1]) if config.pages % (slots * unit) == 0), least)
        memory = f"{format_size(config.pages * PAGE_BYTES)} in {config.slots} slot(s)"
        limit = "a memslot holds at most 2^31 - 1 pages, just under 8TiB"
        raise ConfigError("slots", f"{memory}: {limit}; allowed: slots = {even} or more")
    unit *= config.slots
    if config.pages % unit:
        what = f"{config.backing} pages" if config.backing != "4K" else "64-page words of the dirty bitmap"
        memory = f"{config.vcpus} vCPUs x {format_size(config.mem_per_vcpu)} in {config.slots} slot(s)"
        allowed = f"vcpus x mem_per_vcpu a multiple of {format_size(unit * PAGE_BYTES)}"
        raise ConfigError("mem_per_vcpu", f"{memory} is not made of whole {what}; allowed: {allowed}")
    if config.granularity == "2M" and config.leaf_level < 2:
        cause = "backing" if config.backing == "4K" else "guest_page"
        raise ConfigError("granularity", f"2M needs 2M or 1G leaves, but {cause} = 4K; allowed there: granularity = 4K")


def _check_concurrent(config: Config) -> None:
    """Running vCPUs need an engine that has them, and clears that end on words of the dirty bitmap."""
    if config.concurrent and config.engine == "kvm":
        raise ConfigError("concurrent", "true is for engine = sim or live: the test's vCPUs rest during its ioctls")
    if config.concurrent and config.leaf_level == 1:
        cause = "backing" if config.backing == "4K" else "guest_page"
        raise ConfigError("concurrent", f"true needs huge pages to split, but {cause} = 4K; allowed there: false")
    chunk = config.clear_chunk // PAGE_BYTES
    if chunk and (chunk % PAGES_PER_2M or config.pages_per_slot % PAGES_PER_2M):
        raise ConfigError(
            "clear_chunk",
            f"{format_size(config.clear_chunk)} does not cut slots of "
            f"{format_size(config.pages_per_slot * PAGE_BYTES)} "
            "into whole 2MiB; allowed: multiples of 2MiB, and slots of whole 2MiB",
        )
    if chunk and not config.manual_protect:
        raise ConfigError("clear_chunk", "needs manual_protect = true: without it there is no clear")
