"""What a file or a user says about runs in words NAME=VALUE, beyond what the test prints.

NAME is a field of the config, a module parameter of KVM, `host` or `kernel_release`. Of `kernel` the real release may
be given. In a file any other name is kept as part of the label: it is somebody's note, and tells runs apart.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from core.config import CHOICES, FIELDS, NAMES, parse_field
from core.kvm.errors import SelftestError
from core.kvm.parameters import DECIDES, parse_switch
from core.kvm.releases import generation, parse_release
from sweep.evidence.measurements import MeasurementError
from sweep.spec.values import field_value

SET_BY_IMPORT: Final = ("engine", "repeat")
FACTS: Final = ("host", "kernel_release")

WORD: Final = re.compile(r"([A-Za-z_][\w.-]*)=(.*)")
_LABEL_SIGNS: Final = re.compile(r"[^\w.:/@~=-]+")
_LONGEST_LABEL: Final = 100


@dataclass(frozen=True, slots=True)
class Said:
    """What is said about the runs that follow."""

    fields: Mapping[str, object] = field(default_factory=dict)
    parameters: Mapping[str, bool] = field(default_factory=dict)
    notes: Mapping[str, str] = field(default_factory=dict)  # names that mean nothing here, with their values
    host: str | None = None
    kernel_release: str | None = None

    @property
    def label(self) -> str:
        """The label, with the notes in it: one word, as `Config.label` wants it."""
        parts = [str(self.fields.get("label", "")), *(f"{name}={text}" for name, text in self.notes.items())]
        return label_word("+".join(part for part in parts if part))

    def then(self, later: Said) -> Said:
        """Both, where the later words replace what they name, and what a parameter decides the field stated before."""
        outdated = {DECIDES[name] for name in later.parameters}
        fields = {name: value for name, value in self.fields.items() if name not in outdated or value == "nested"}
        decided = {name for name, decides in DECIDES.items() if decides in later.fields}
        parameters = {name: value for name, value in self.parameters.items() if name not in decided}
        return Said(
            fields | dict(later.fields),
            parameters | dict(later.parameters),
            {**self.notes, **later.notes},
            later.host or self.host,
            later.kernel_release or self.kernel_release,
        )

    def without_parameters(self, names: Iterable[str]) -> Said:
        """The same after the parameters went back to what they were by default."""
        gone = set(names)
        return dataclasses.replace(self, parameters={n: v for n, v in self.parameters.items() if n not in gone})


def label_word(text: str) -> str:
    """A text as a label: what a label may not hold becomes an underscore."""
    return "+".join(_LABEL_SIGNS.sub("_", part).strip("_") for part in text.split("+"))[:_LONGEST_LABEL]


def is_word(word: str) -> bool:
    """Whether a word is NAME=VALUE, not a file."""
    return WORD.fullmatch(word) is not None


def is_known_name(name: str) -> bool:
    """Whether a name means a field, a parameter or a fact."""
    return name in NAMES or name in DECIDES or name in FACTS


def read_words(words: Iterable[str], *, keeps_notes: bool) -> Said:
    """What the words say; MeasurementError, or another error with its sentence, for one that says nothing possible."""
    said = Said()
    for word in words:
        match = WORD.fullmatch(word)
        if match is None:
            raise MeasurementError(f"{word!r} is not FIELD=VALUE; write it like vcpus=64")
        name, text = match.groups()
        if is_known_name(name) or not keeps_notes:
            said = said.then(_read_word(name, text))
        else:
            said = said.then(Said(notes={name: text}))
    return said


def _read_word(name: str, text: str) -> Said:
    if name in SET_BY_IMPORT:
        raise MeasurementError(f"{name}: is set by the import; leave it out")
    if name == "host":
        return Said(host=text)
    if name == "kernel_release":
        parse_release(text)
        return Said(kernel_release=text)
    if name == "kernel" and text not in CHOICES["kernel"]:
        return Said(fields={"kernel": generation(parse_release(text))}, kernel_release=text)
    if name in DECIDES and (name not in FIELDS or text.lower() not in ("true", "false")):
        return Said(parameters={name: _switch(name, text)})
    if name == "label":
        return Said(fields={"label": label_word(text)})
    return Said(fields={name: field_value(name, parse_field(name, text))})


def _switch(name: str, text: str) -> bool:
    value = parse_switch(text)
    if value is None:
        raise SelftestError(f"{name}: {text!r} is not allowed; allowed: Y, N, 1, 0, on, off")
    return value
