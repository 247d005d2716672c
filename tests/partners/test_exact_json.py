import json
import math
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from partners.errors import JSONError
from partners.exact_json import Limits, Number, check, decimal_of, dumps, elements, loads, members

numbers = st.from_regex(r"-?(0|[1-9][0-9]{0,30})(\.[0-9]{1,20})?([eE][+-]?[0-9]{1,3})?", fullmatch=True)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8).map(
    lambda text: json.dumps(text, ensure_ascii=False)
)
documents = st.recursive(
    st.one_of(numbers, texts, st.sampled_from(["null", "true", "false"])),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4).map(lambda parts: f"[{','.join(parts)}]"),
        st.lists(st.tuples(texts, inner), max_size=4, unique_by=lambda pair: json.loads(pair[0])).map(
            lambda pairs: "{" + ",".join(f"{key}:{value}" for key, value in pairs) + "}"
        ),
    ),
    max_leaves=12,
)


@pytest.mark.parametrize(
    "spelling",
    [
        "0",
        "-0",
        "-0.0",
        "1.10",
        "1e5",
        "1E5",
        "1e+05",
        "0.1e-7",
        "123456789012345678",
        "1234567890123456789",
        "1234567890123456789012345678901234567890",
        "1e400",
        "-1e9999999999",
        "100000000000000000000.000000000000000000001",
        "-9223372036854775809",
        "18446744073709551616",
    ],
)
def test_a_number_keeps_its_spelling(spelling: str) -> None:
    raw = f'{{"n":{spelling},"l":[{spelling}]}}'.encode()
    check(raw)
    assert dumps(loads(raw)) == raw


@given(document=documents)
def test_compact_json_comes_out_as_it_went_in(document: str) -> None:
    raw = document.encode()
    check(raw)
    strings_respelled = dumps(loads(raw))
    assert dumps(loads(strings_respelled)) == strings_respelled
    assert _with_exact_numbers(strings_respelled) == _with_exact_numbers(raw)


def _with_exact_numbers(raw: bytes) -> object:
    """Read by the standard library: pairs keep the order of keys, tuples mark the spelling of numbers."""
    return json.loads(raw, object_pairs_hook=list, parse_int=lambda n: ("n", n), parse_float=lambda n: ("n", n))


def test_keys_keep_their_order_and_their_unicode() -> None:
    raw = '{"z":1,"größe":2,"日本":{"b":null,"a":[]},"😀":"\\u0000"}'.encode()
    assert dumps(loads(raw)) == raw


def test_escapes_become_plain_characters_and_space_goes() -> None:
    assert dumps(loads(b' {"a" : "\\u00e9\\/" ,\n\t"b":[ 1 , 2 ] } ')) == '{"a":"é/","b":[1,2]}'.encode()


def test_the_last_of_a_repeated_key_wins_where_the_first_stood() -> None:
    assert dumps(loads(b'{"a":1,"b":2,"a":3}')) == b'{"a":3,"b":2}'


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", "zero-length"),
        (b"  ", "not JSON: input data is empty"),
        (b"{", "not JSON: .* at line 1 column 2"),
        (b'{"a":1\n,"b":tru}', "expected 'true' at line 2 column 6"),
        (b"[1,]", "trailing comma is not allowed at line 1 column 3"),
        (b"[NaN]", "not JSON: .* line 1 column 2"),
        (b"[-Infinity]", "not JSON: .* line 1 column"),
        (b"[1e400,NaN]", "not JSON: "),
        (b"[01]", "leading zero is not allowed"),
        (b"1 2", "unexpected content after document"),
        (b"{'a':1}", "not JSON: "),
        (b'"\x00"', "control character in string"),
        (b'"\\ud800"', "no low surrogate"),
        (b'[1e400,"\\ud800"]', "not JSON: "),
        (b"\xef\xbb\xbf{}", "byte order mark"),
        (b'{"a":"\xff"}', "not UTF-8: invalid start byte at byte 6"),
        (b"[" * 2000 + b"]" * 2000, "too deep|depth limit"),
        (b"[1e400," * 2000 + b"]" * 2000, "not JSON|too deep"),
        (b'"' + b"a" * 1_048_576 + b'"', "too large: 1048578 bytes, at most 1048576"),
    ],
)
def test_what_is_not_json_is_refused_with_the_place_by_both_readers(raw: bytes, message: str) -> None:
    with pytest.raises(JSONError, match=message):
        check(raw)
    with pytest.raises(JSONError):
        loads(raw)


def test_the_place_is_also_a_number() -> None:
    with pytest.raises(JSONError) as refused:
        check(b"[1,]")
    assert refused.value.position == 2


@pytest.mark.parametrize("opening_closing", [(b"[", b"]"), (b'{"a":', b"}")])
@pytest.mark.parametrize("filler", [b"1", b'"]]]]"', b'"}}\\"]]"', b'"\\\\"', b"[1e400]"])
def test_depth_is_counted_without_what_strings_contain(opening_closing: tuple[bytes, bytes], filler: bytes) -> None:
    opening, closing = opening_closing
    extra = int(filler.startswith(b"["))
    allowed = opening * (5 - extra) + filler + closing * (5 - extra)
    limits = Limits(max_bytes=1000, max_depth=5)
    check(allowed, limits)
    assert dumps(loads(allowed, limits)) == allowed
    for reader in (check, loads):
        with pytest.raises(JSONError, match="too deep: more than 5"):
            reader(opening + allowed + closing, limits)


def test_wide_is_not_deep() -> None:
    check(b"[" + b"[[]]," * 9 + b"{}]", Limits(1000, 3))


def test_strings_that_close_brackets_do_not_hide_depth() -> None:
    hidden = b'["]",' * 9 + b'"[","["' + b"]" * 9
    with pytest.raises(JSONError, match="too deep"):
        check(hidden, Limits(1000, 5))


def test_json_that_exhausts_the_stack_is_refused() -> None:
    with pytest.raises(JSONError, match="too deep"):
        loads(b"[" * 100_000 + b"]" * 100_000, Limits(1_000_000, 200_000))


def test_members_are_the_exact_bytes_of_an_object() -> None:
    raw = ' {"id" : "e1", "data":{"b": 1.10,\n"a":[1,  2] } ,"n":-0.0,"größe":"\\u00e9", "n":1e5}\n'.encode()
    assert members(raw) == {
        "id": b'"e1"',
        "data": b'{"b": 1.10,\n"a":[1,  2] }',
        "n": b"1e5",
        "größe": b'"\\u00e9"',
    }
    assert members(b"{ }") == {}


def test_parts_contain_numbers_of_any_length() -> None:
    long = b"9" * 5000
    assert members(b'{"data":' + long + b',"n":1e400}') == {"data": long, "n": b"1e400"}
    assert elements(b"[" + long + b",[" + long + b"]]") == [long, b"[" + long + b"]"]


def test_elements_are_the_exact_bytes_of_a_list() -> None:
    assert elements(b'\n[ {"a": 1.0} ,2e1,"x" , [ ]]') == [b'{"a": 1.0}', b"2e1", b'"x"', b"[ ]"]
    assert elements(b"[]") == []


def test_only_as_many_elements_are_split_off_as_are_wanted() -> None:
    assert elements(b"[1, 2, 3]", at_most=2) == [b"1", b"2"]
    assert elements(b"[1]", at_most=2) == [b"1"]
    with pytest.raises(JSONError, match="line 1 column"):
        elements(b"[1, 2, 3", at_most=2)


def test_parts_of_the_wrong_kind_of_document_are_refused() -> None:
    with pytest.raises(JSONError, match="expected a JSON object"):
        members(b"[1]")
    with pytest.raises(JSONError, match="expected a JSON list"):
        elements(b'{"a":1}')
    with pytest.raises(JSONError, match="line 1 column"):
        members(b'{"a"}')


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (5, Decimal(5)),
        (Number("1.10"), Decimal("1.10")),
        (Number("-1e3"), Decimal(-1000)),
        (Number("1e99999999999999999999"), Decimal("Infinity")),
        (Number("-1E99999999999999999999"), Decimal("-Infinity")),
        (Number("1e-99999999999999999999"), Decimal(0)),
        (Number("0e99999999999999999999"), Decimal(0)),
    ],
)
def test_the_exact_value_of_a_number(number: int | Number, expected: Decimal) -> None:
    assert decimal_of(number) == expected


def test_numbers_of_one_spelling_are_equal() -> None:
    assert Number("1.0") == Number("1.0")
    assert Number("1.0") != Number("1.00")
    assert Number("1.0") != math.pi
    assert {Number("1.0"), Number("1.0")} == {Number("1.0")}
    assert repr(Number("1.0")) == "Number('1.0')"
