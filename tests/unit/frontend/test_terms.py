"""Constraints as people type them."""

import pytest

from frontend import terms


@pytest.mark.parametrize(
    ("text", "public"),
    [
        ("", {}),
        ("cpu_score >= 2", {"cpu_score": {"min": 2}}),
        ("cpu_score>=2 AND cpu_score<=8", {"cpu_score": {"min": 2, "max": 8}}),
        ("os = linux\nand charging = true", {"os": {"in": ["linux"]}, "charging": {"in": [True]}}),
        ('os in "a and b", ios', {"os": {"in": ["a and b", "ios"]}}),
        ('{"os": {"in": ["linux"]}, "cpu_score": 2}', {"os": {"in": ["linux"]}, "cpu_score": 2}),
    ],
)
def test_it_reads_what_a_job_file_would_say(text, public):
    assert terms.public(terms.parse(text)) == public


def test_it_knows_where_each_term_stands():
    found = terms.parse("  cpu_score >= 2 and os in linux, ios ")
    assert [(one.column, one.text) for one in found] == [
        (3, "cpu_score >= 2"), (22, "os in linux, ios"),
    ]  # fmt: skip
    assert terms.place_of("constraints.public.os", found) == 22
    assert terms.place_of("pools.0", found) is None
    found = terms.parse('{"os": {"in": ["os"]}, "cpu_score": 2}')
    assert [(one.column, one.name) for one in found] == [(2, "os"), (24, "cpu_score")]


@pytest.mark.parametrize(
    ("text", "column", "why"),
    [
        ("cpu_score", 10, "what of cpu_score?"),
        ("cpu_score >", 12, "a value is missing"),
        ("cpu_score > 2", 11, "bounds are inclusive"),
        ("cpu_score ~ 2", 11, "after the name"),
        ("cpu_score >= fast", 14, "takes a number"),
        ("cpu_score >= inf", 14, "not a finite number"),
        ("cpu_score >= 1 2", 16, "one value"),
        ("= 2", 1, "no attribute's name"),
        ("os = ,", 6, "no value"),
        ('os = "linux', 6, "not closed"),
        ("os in linux,", 12, "commas between"),
        ("os in linux ios", 13, "commas between"),
        ("os = linux and", 12, "a term is missing"),
        ("and os = linux", 1, "a term is missing"),
        ("a >= 1 and a >= 2", 12, "asked for twice"),
        ('{"a": 1', 8, "as JSON"),
        ('{"os": {"in": ["\\ud800"]}}', 1, "half of a surrogate pair"),
        ("x" * 2001, 2000, "at most 2000"),
    ],
)
def test_it_points_at_what_it_cannot_read(text, column, why):
    with pytest.raises(terms.TermsUnread, match=why) as caught:
        terms.public(terms.parse(text))
    assert caught.value.column == column
