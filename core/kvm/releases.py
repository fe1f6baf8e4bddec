"""Releases of Linux, and which generation of KVM's MMU (`Config.kernel`) each behaves as.

Where the generations differ: 6.2 splits a huge page that the TDP MMU maps at the first write fault, where 6.1 dropped
it; 6.13 puts huge pages back in place when logging is disabled, where 6.12 dropped the tables. A distribution may have
taken changes of later releases into its kernel: then the fields say so, not its release.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from core.kvm.errors import SelftestError


class Release(NamedTuple):
    """The two numbers of a release that decide."""

    major: int
    minor: int


OLDEST: Final = Release(5, 10)
"""The first release with the TDP MMU, and with the test."""

EAGER_SPLITTING: Final = Release(5, 18)
"""The first release with the module parameter eager_page_split."""

SPLIT_AT_FAULT: Final = Release(6, 2)
"""The first release whose TDP MMU splits a huge page at a write fault."""

RECOVERED_IN_PLACE: Final = Release(6, 13)
"""The first release whose TDP MMU puts huge pages back when logging is disabled."""

_RELEASE: Final = re.compile(r"v?(\d{1,2})\.(\d{1,3})(?:[.+~_-][\w.+~-]*)?", re.ASCII)


def parse_release(text: str) -> Release:
    """The release meant by what `uname -r` says, like 5.15.0-91-generic; SelftestError if it is none from 5.10 on."""
    match = _RELEASE.fullmatch(text)
    if match is None:
        raise SelftestError(
            f"kernel: {text!r} is no release of Linux; write it as `uname -r` does, like 6.1.0-18-amd64"
        )
    release = Release(int(match[1]), int(match[2]))
    if release < OLDEST:
        raise SelftestError(f"kernel: {text} is older than the TDP MMU; allowed: 5.10 and later")
    return release


def generation(release: Release) -> str:
    """The value of `Config.kernel` that behaves as this release."""
    if release < SPLIT_AT_FAULT:
        return "6.1"
    return "6.12" if release < RECOVERED_IN_PLACE else "7.3"
