"""Texts made from good ones: pieces lost, doubled and swapped, numbers driven to extremes, words from elsewhere.

A text follows from its seed alone, so whatever is found can be made again.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from typing import Final

EXTREMES: Final = (
    *("0", "-1", "1", "00", "1e309", "-0.0", "nan", "inf", "9" * 5000, "18446744073709551616", "0x7fffffffffffffff"),
    *("1_000", "2147483648", "0.1", "-", "+", "1e-400"),
)

ELSEWHERE: Final = (
    *("''", '"', "'", "\\", "\n", "\r\n", "\0", "\t", "\ufeff", "\u202e", "\U0001f980", "é", "[", "]]", "[["),
    *("{", "}", "=", ",", "#", "--", "/*", ";", "(" * 300, "[" * 300, "a" * 70000, "%s%n", "1/0", "NULL", "true"),
    *("../../etc/passwd", "/dev/zero", "s3://k:s@b/x", "$(id)", "`id`", "{{7*7}}", "UNION", "SELECT 1"),
    *("__import__('os').system('id')", "!!python/object/apply:os.system ['id']", "cos\nsystem", "PRAGMA version"),
    *("DROP TABLE runs", "read_csv('/etc/passwd')", "COPY runs TO 'stolen.csv'", "ATTACH 'stolen.db'"),
    *("INSTALL httpfs", "SET enable_external_access = true"),
)

_NUMBER: Final = re.compile(r"\d[\d.]*")


def spoilt(seeds: Sequence[str], seed: int) -> str:
    """A text that came from one of the good ones, by up to eight changes."""
    chance = random.Random(seed)
    text = chance.choice(seeds)
    for _ in range(chance.choice((0, 1, 1, 1, 2, 3, 8))):
        text = _changed(text, seeds, chance)
    return text


def _changed(text: str, seeds: Sequence[str], chance: random.Random) -> str:
    at, end = sorted(chance.randrange(len(text) + 1) for _ in range(2))
    end = min(end, at + chance.choice((1, 3, 20, 400)))
    match chance.randrange(8):
        case 0:
            return text[:at] + text[end:]
        case 1:
            return text[:end] + text[at:end] * chance.choice((1, 2, 50)) + text[end:]
        case 2:
            return text[:at] + chance.choice(ELSEWHERE) + text[end:]
        case 3:
            return text[:at] + chance.choice(ELSEWHERE) + text[at:]
        case 4:
            found = list(_NUMBER.finditer(text))
            if found:
                number = chance.choice(found)
                return text[: number.start()] + chance.choice(EXTREMES) + text[number.end() :]
            return text + chance.choice(EXTREMES)
        case 5:
            lines = text.splitlines(keepends=True)
            chance.shuffle(lines)
            return "".join(lines)
        case 6:
            other = chance.choice(seeds)
            start = chance.randrange(len(other) + 1)
            return text[:at] + other[start : start + chance.choice((5, 60, 1000))] + text[at:]
        case _:
            strange = (chr(chance.choice((chance.randrange(128), chance.randrange(0xD7FF)))) for _ in range(3))
            return text[:at] + "".join(strange) + text[end:]
