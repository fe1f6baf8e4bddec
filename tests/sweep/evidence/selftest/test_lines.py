"""What consoles, logs, mails and harnesses put around the test's lines is taken away, and nothing else."""

from __future__ import annotations

import codecs

import pytest

from sweep.evidence.measurements import MeasurementError
from sweep.evidence.selftest.lines import decoded, lines_of

OWN = ["Test iterations: 2", "Populate memory time: 1.000000000s", "Iteration 1 dirty memory time: 0.100000000s"]


@pytest.mark.parametrize(
    "prefix",
    [
        "# ",
        "#",
        "# # ",
        "> > ",
        ">> ",
        "| ",
        "[   12.345678] ",
        "[   12.345678][  T123] ",
        "<6>[   12.345678] ",
        "Nov 25 06:52:39 host kernel: [   12.345678] ",
        "Nov  5 06:52:39 host dirty_log_perf_test[1234]: ",
        "2024-01-02T03:04:05.123456+00:00 host run.sh[12]: ",
        "2024-01-02T03:04:05.123456Z ",
        "2024-01-02 03:04:05,123 ",
        "[2024-01-02 03:04:05] ",
        "[Mon Jan  1 10:00:00 2024] ",
        "03:04:05.123 ",
        "[03:04:05] # ",
        "\x1b[32m# \x1b[0m",
        "\x1b]0;title\x07",
        "^[[1m",
        "\N{NO-BREAK SPACE} ",
        "  \t",
    ],
)
def test_what_is_known_to_stand_in_front_is_taken_away_from_a_single_line(prefix: str) -> None:
    (line,) = lines_of(f"{prefix}{OWN[2]}")
    assert line.text == OWN[2]


@pytest.mark.parametrize(
    "prefix",
    [
        "2024-01-02 03:04:05,123 INFO runner: ",
        "2024-01-02T03:04:05.12Z stdout F ",
        "guest-1  | ",
        "node17: ",
        "log.txt:12:",
        "   12\t",
        "(1/3) ",
        "INFO:root:",
        "01-02 03:04:05.123  1234  1234 I init: ",
        "* ",
    ],
)
def test_what_stands_before_the_tests_lines_again_and_again_is_taken_away_from_all(prefix: str) -> None:
    text = "\n".join(prefix + line for line in [*OWN, "vcpus=2"])
    assert [line.text for line in lines_of(text)] == [*OWN, "vcpus=2"]


@pytest.mark.parametrize(
    "line",
    [
        "the patched kernel has Populate memory time: 0.5s",
        "vCPU 0 iteration 1 dirty memory time: 0.1s",
        "irq 16: nobody cared",
        "./dirty_log_perf_test -v 2",
        "+ ./dirty_log_perf_test -v 2",
        "[root@host kvm]# ./dirty_log_perf_test -v 2",
    ],
)
def test_other_lines_stay_as_they_are(line: str) -> None:
    assert [found.text for found in lines_of("\n".join([*OWN, line]))] == [*OWN, line]


@pytest.mark.parametrize("line", ["Test iterations: 2", "Random seed: 0x52", "Testing guest mode: PA-bits:ANY"])
def test_behind_a_clock_the_tests_own_words_are_no_host_and_program(line: str) -> None:
    assert lines_of(f"2024-05-01T10:20:30.1234567Z {line}")[0].text == line


def test_an_empty_line_behind_a_prefix_is_empty() -> None:
    text = "\n".join(f"guest-1  | {line}" for line in [OWN[0], "", *OWN[1:]])
    assert [line.text for line in lines_of(text)] == [OWN[0], "", *OWN[1:]]


def test_lines_may_be_the_strings_of_a_list() -> None:
    assert [line.text for line in lines_of("\n".join(f'    "{line}",' for line in OWN))] == OWN


def test_bare_and_prefixed_lines_may_be_mixed() -> None:
    text = f"{OWN[0]}\n# {OWN[1]}\n[  1.000000] {OWN[2]}\n"
    assert [line.text for line in lines_of(text)] == [*OWN, ""]


def test_a_line_knows_its_number_and_whether_it_was_a_comment() -> None:
    first, second = lines_of("Test iterations: 2\n# vcpus=2")
    assert (first.number, first.is_comment, second.number, second.is_comment) == (1, False, 2, True)


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r\r\n", "\r"])
def test_lines_end_as_on_any_system(end: str) -> None:
    assert [line.text for line in lines_of(end.join(OWN))] == OWN


def test_a_console_that_went_back_shows_what_it_wrote_last() -> None:
    (line,) = lines_of("TesX\x08t iterations: 2")
    assert line.text == "Test iterations: 2"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_a_text_may_be_utf_8_or_utf_16_with_or_without_a_mark(encoding: str) -> None:
    text = "\n".join(OWN)
    assert decoded(text.encode(encoding), "log") == text


def test_utf_16_may_be_in_either_order() -> None:
    assert decoded(codecs.BOM_UTF16_BE + "Test".encode("utf-16-be"), "log") == "Test"


def test_a_stray_byte_spoils_a_word_and_not_the_file() -> None:
    assert decoded(b"caf\xe9\nTest iterations: 2" + b"\n" * 40, "log").splitlines()[1] == "Test iterations: 2"


@pytest.mark.parametrize("content", [b"\x7fELF\xff\xfe", b"PK\x03\x04\0\0\x08", bytes(range(256))])
def test_what_is_no_text_is_refused(content: bytes) -> None:
    with pytest.raises(MeasurementError, match=r"^log: is no text"):
        decoded(content, "log")
