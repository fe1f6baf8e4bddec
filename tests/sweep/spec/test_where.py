"""What `where` may say, and that it reaches nothing but the fields."""

from pathlib import Path

import pytest

from sweep.errors import SpecError
from sweep.spec.where import rows_matching, where_fields

VCPUS = [1, 2, 64, 96]


def kept_vcpus(where: str) -> list[object]:
    """The rows of VCPUS for which `where` is true."""
    return [value for value, kept in zip(VCPUS, rows_matching(where, {"vcpus": VCPUS}), strict=True) if kept]


def test_the_fields_named_are_found_in_the_order_of_the_fields() -> None:
    assert where_fields("mmu = 'tdp' AND (VCPUS > 2 OR NOT pml)") == ("vcpus", "mmu", "pml")


@pytest.mark.parametrize(
    ("where", "kept"),
    [
        ("vcpus >= 64", [64, 96]),
        ("vcpus BETWEEN 2 AND 64", [2, 64]),
        ("vcpus NOT IN (1, 96)", [2, 64]),
        ("vcpus & (vcpus - 1) = 0", [1, 2, 64]),
        ("NOT (vcpus > 2 AND vcpus % 64 = 0)", [1, 2, 96]),
        ("CASE WHEN vcpus > 10 THEN vcpus = 96 ELSE vcpus = 1 END", [1, 96]),
        ("vcpus > 64 -- with a remark", [96]),
    ],
)
def test_numbers_are_compared_as_numbers(where: str, kept: list[int]) -> None:
    assert kept_vcpus(where) == kept


def test_sizes_are_bytes_and_may_be_written_as_sizes() -> None:
    columns = {"mem_per_vcpu": [2**26, 2**30, 2**32]}
    assert rows_matching("mem_per_vcpu >= '1GiB'", columns) == [False, True, True]
    assert rows_matching("mem_per_vcpu / 1048576 = 64", columns) == [True, False, False]


def test_texts_and_switches_are_compared_as_such() -> None:
    columns: dict[str, list[object]] = {"mmu": ["tdp", "legacy_tdp", "shadow"], "pml": [True, False, False]}
    assert rows_matching("pml OR mmu LIKE '%tdp'", columns) == [True, True, False]


def test_a_comparison_with_nothing_is_not_true() -> None:
    assert rows_matching("guest_page = '4K'", {"guest_page": [None, "4K"]}) == [False, True]


def test_rows_keep_their_order_beyond_the_chunks_of_the_database() -> None:
    vcpus = list(range(300_000))
    assert rows_matching("vcpus % 3 = 0", {"vcpus": vcpus}) == [value % 3 == 0 for value in vcpus]


@pytest.mark.parametrize(
    ("where", "complaint"),
    [
        ("vcpus > (SELECT 2)", "no subquery here"),
        ("EXISTS (FROM read_text('{secret}'))", "no subquery here"),
        ("vcpus IN (SELECT size FROM read_text('{secret}'))", "no subquery here"),
        ("read_text('{secret}') = 'x' OR vcpus > 1", "the function read_text() is not allowed"),
        ("vcpus > 1) FROM read_text('{secret}') WHERE (size > 0", "not a single expression"),
        ("vcpus > 1) UNION SELECT (true", "not a single expression"),
        ("vcpus > 1), (vcpus > 2", "not a single expression"),
        ("vcpus > 1); SELECT (true", "not a single expression"),
        ("vcpus > 1); COPY (SELECT 1) TO '{target}'; SELECT (true", "Only SELECT statements"),
        ("vcpus > 1); ATTACH '{target}'; SELECT (true", "Only SELECT statements"),
        ("current_setting('threads') > vcpus", "the function current_setting() is not allowed"),
        ("count(*) > vcpus", "the function count_star() is not allowed"),
        ("row_number() OVER () > vcpus", "no window here"),
        ("COLUMNS('.*') > vcpus", "no star here"),
        ("vcpus > ?", "no parameter here"),
        ("vcpus::VARCHAR = 'x'", "no cast here"),
        ("vcpus > 1, vcpus > 2", "a list of values is not allowed"),
        ("", "empty; write a condition like"),
        ("vcpu > 1", "no field vcpu"),
        ("address_spaces > 1", "where: address_spaces is called guest_roots now"),
        ("rowid = 1", "no field rowid"),
        ("fields.vcpus > 1", "no field fields.vcpus"),
        ('mmu = "tdp"', "no field tdp (texts go in single quotes"),
        ("vcpus >", "syntax error"),
        ("vcpus = 'two", "unterminated"),
        ("1 = 1", "names no field"),
    ],
)
def test_anything_but_one_expression_over_the_fields_is_refused(where: str, complaint: str, tmp_path: Path) -> None:
    secret, target = tmp_path / "secret", tmp_path / "target"
    secret.write_text("x")
    with pytest.raises(SpecError) as caught:
        where_fields(where.format(secret=secret, target=target))
    assert complaint in str(caught.value)
    assert not target.exists()


@pytest.mark.parametrize(
    ("where", "complaint"),
    [
        ("vcpus + 1", "is neither true nor false but"),
        ("vcpus > 'many'", "Could not convert string 'many'"),
        ("vcpus << 63 > 0", "Overflow"),
    ],
)
def test_an_expression_that_has_no_truth_is_refused(where: str, complaint: str) -> None:
    with pytest.raises(SpecError, match=r"where: ") as caught:
        rows_matching(where, {"vcpus": VCPUS})
    assert complaint in str(caught.value)
    assert "\n" not in str(caught.value)


def test_even_past_the_first_fence_no_file_can_be_read(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("x")
    with pytest.raises(SpecError, match="disabled"):
        rows_matching(f"vcpus IN (SELECT size FROM read_text('{secret}'))", {"vcpus": VCPUS})
