import pytest

from partners.errors import SpecError
from partners.exact_json import Number
from partners.paths.tokens import tokenize


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("", "a path can't be empty"),
        ("data.id", "a path starts with .* at character 1"),
        (".data", "a path starts with"),
        ("$data", "a dot is missing before 'data', at character 2"),
        ("$[0]data", "a dot is missing before 'data', at character 5"),
        ("$.", "'\\$.' ends too early"),
        ("$..", "ends too early"),
        ("$.data[", "this is not closed, at character 7"),
        ("$.data[?(@.a]", "unexpected ']', at character 13"),
        ("$.data]", "unexpected ']', at character 7"),
        ("$.data[]", "unexpected ']'"),
        ("$.a b", r"a space; a name with it is \['like this'\], at character 4"),
        ("$.data.total > 100", "conditions stand in brackets, .* at character 13"),
        ("$.data.total>100", "conditions stand in brackets, .* at character 13"),
        ("$.a||$.b", "conditions stand in brackets"),
        ("$.data.0", r"an element is written \[0\], a key of digits \['0'\]"),
        ("$.data[data]", r"a name in brackets is quoted: \['data'\]"),
        ("$.data['a',b]", r"a name in brackets is quoted: \['b'\]"),
        ("$.data.'a'", "no dot before brackets, and a quoted name stands in brackets"),
        ("$.a.['b']", "no dot before brackets, at character 5"),
        ("$[?(a > 1)]", "a condition starts with a path: @.a"),
        ("$[?(@.a > b)]", "text to compare with is quoted: 'b'"),
        ("$[?(5 > @.a)]", "in a condition the path stands on the left"),
        ("$[?('x' == @.a)]", "in a condition the path stands on the left"),
        ("$[?(@.a =~ 'x')]", "regular expressions are not available, at character 9"),
        ("$.a.`parent`", "named operators are not available"),
        ("$.a+1", "no arithmetic"),
        ("$[/a]", "no sorting"),
        ("$.a~", "'~' is not available"),
        ("$.😀", "'😀' is not part of the language"),
        ("$['a", "a string that does not end, at character 3"),
        ('$[?(@.a == "x)]', "a string that does not end"),
        (r"$['a\n']", "a backslash stands only before a quote or another backslash, at character 5"),
        ("$[1.5]", "1.5 is not a whole number"),
        ("$.a,b", "unexpected ','"),
        ("$(a)", "functions are not available"),
        ("$[?(@.a)(@.b)]", "functions are not available"),
        ("$[?(@.a) @.b]", "unexpected '@'"),
        ("$.a[?(@.b x)]", "unexpected 'x'"),
        ("$.a:b", "unexpected ':'"),
        ("$[?(@.a[?(@.b[?(@.c)])])]", "more than 2 filters inside each other"),
        ("$." + "a" * 299, "at most 300 characters, not 301"),
    ],
)
def test_what_is_no_path_is_refused_with_a_hint_and_the_place(path: str, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        tokenize(path)


def test_literals_keep_their_exact_values() -> None:
    values = [token.value for token in tokenize("$[?(@.a == 1.50 && @.b == -3 && @.c == 'it\\'s' && @.d == null)]")]
    assert Number("1.50") in values
    assert -3 in values
    assert "it's" in values
    assert None in values


def test_words_that_mean_something_elsewhere_are_names_after_a_dot() -> None:
    assert [token.type for token in tokenize("$.where.true.null.wherenot")] == ["$"] + [".", "ID"] * 4


def test_names_may_have_any_letters_and_dashes() -> None:
    assert [token.value for token in tokenize("$.größe.日本.x-y._a1")][2::2] == ["größe", "日本", "x-y", "_a1"]


@pytest.mark.parametrize(("written", "meant"), [("&", "AND"), ("&&", "AND"), ("|", "OR"), ("||", "OR")])
def test_and_and_or_have_two_spellings(written: str, meant: str) -> None:
    assert meant in [token.type for token in tokenize(f"$[?(@.a {written} @.b)]")]
