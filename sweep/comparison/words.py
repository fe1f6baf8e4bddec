"""Configs, numbers and changes in words, the same in every form of output."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Final

from core.config import Config as FullConfig
from core.config import config_record, field_text
from sweep.comparison.families import Config
from sweep.comparison.ranks import Ratio
from sweep.showing.tables import FOLLOWING_FIELDS

_DEFAULTS: Final = config_record(FullConfig())


def config_words(config: Config, names: Sequence[str]) -> str:
    """These fields of a config as FIELD=VALUE words."""
    return " ".join(f"{name}={field_text(name, config[name])}" for name in names if name in config)


def full_words(config: Config) -> str:
    """The fields in which a config differs from the defaults, and its mmu: a name that is the same every night."""
    return config_words(config, [name for name in config if name == "mmu" or config[name] != _DEFAULTS[name]])


def varying_fields(configs: Sequence[Config]) -> list[str]:
    """The fields in which these configs differ from each other, without those that follow from the others."""
    if not configs:
        return []
    names = [name for name in configs[0] if _combinations(configs, [name]) > 1]
    for name in FOLLOWING_FIELDS:
        others = [other for other in names if other != name]
        if name in names and _combinations(configs, others) == _combinations(configs, names):
            names = others
    return names


def _combinations(configs: Sequence[Config], names: Sequence[str]) -> int:
    return len({tuple(config[name] for name in names) for config in configs})


def common_words(configs: Sequence[Config]) -> str:
    """What all configs have in common and the defaults have not."""
    varying = [name for name in configs[0] if _combinations(configs, [name]) > 1] if configs else []
    return full_words({name: value for name, value in configs[0].items() if name not in varying}) if configs else ""


def shared_words(shared: Mapping[str, object]) -> str:
    """The name of a family."""
    return config_words(shared, list(shared)) or "all configs"


def spread_text(values: Sequence[float]) -> str:
    """The standard deviation in percent of the mean, as LKP gives it; a dash for a single value."""
    mean = statistics.fmean(values)
    return f"{100 * statistics.stdev(values) / mean:.0f}%" if len(values) > 1 and mean else "-"


def change_text(ratio: float | None) -> str:
    """`+10.2%`; of changes too small for that as many digits as show one."""
    if ratio is None:
        return "-"
    percent = (ratio - 1) * 100
    return f"{percent:+.1f}%" if abs(percent) >= 0.05 or percent == 0 else f"{percent:+.1g}%"


def interval_text(ratio: Ratio | None) -> str:
    """The 95% interval of a change; empty where there is none."""
    if ratio is None or ratio.low is None or ratio.high is None:
        return ""
    return f"[{change_text(ratio.low)}, {change_text(ratio.high)}]"
