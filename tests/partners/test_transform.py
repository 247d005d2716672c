"""Valid and invalid specifications, and what `map` makes of an event. docs/transformations.md has full examples."""

import json
import threading
from typing import Any

import pytest

from partners.envelope import Envelope
from partners.errors import SpecError, TransformError
from partners.transform import MAX_NAME_CHARS, body_for, compile_transformation

DATA = b"""{
    "id": 820982911946154508, "big": 123456789012345678901234567890, "tax": 0.10, "price": "199.00", "none": null,
    "yes": true, "name": "#1001", "mail": " Bob@Example.COM ", "tags": "vip, new", "a.b": 1, "x-y": 2,
    "created_at": "2021-12-31T19:00:00-05:00",
    "items": [{"sku": "X", "price": "10.00", "q": 1, "props": [{"n": "a"}, {"n": "b"}]},
              {"sku": "Y", "price": "9.50", "q": 2, "props": []},
              {"sku": null, "q": 0}],
    "customer": {"first": "Bob", "last": "Norman", "phone": null}
}"""


def an_event(data: bytes = DATA) -> Envelope:
    return Envelope("evt_1", "orders.created", "2026-01-02T03:04:05Z", data)


def mapped(template: Any, data: bytes = DATA) -> str:
    spec = f'{{"map":{template if isinstance(template, str) else json.dumps(template)}}}'
    return compile_transformation(spec).apply(an_event(data)).decode()


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        # values, constants, missing and null
        ('"$.data.tax"', "0.10"),
        ('"$.data.big"', "123456789012345678901234567890"),
        ('{"a":"$.data.id","b":"$.data.zz","c":"$.data.none"}', '{"a":820982911946154508,"c":null}'),
        ('["$.data.zz","$.id",{"a":"$.data.zz"},[]]', '["evt_1",{},[]]'),
        (
            '{"n":1.10,"big":123456789012345678901,"t":true,"z":null,"s":"text"}',
            '{"n":1.10,"big":123456789012345678901,"t":true,"z":null,"s":"text"}',
        ),
        ('["$\\n","@\\n"]', '["$\\n","@\\n"]'),
        ('["$5 off","$","@bob","","bob@x"]', '["$5 off",ENVELOPE,"@bob","","bob@x"]'),
        ('{"$$email":"$.data.name","$$$x":1}', '{"$email":"#1001","$$x":1}'),
        ('{"$value":{"$path":"$.x","l":["$.y",1.0]}}', '{"$path":"$.x","l":["$.y",1.0]}'),
        ("\"$.data['a.b']\"", "1"),
        ('"$.data.customer"', '{"first":"Bob","last":"Norman","phone":null}'),
        ('"$.data.items[*].sku"', '"X"'),
        ('"$.data.items[?(@.q > 1)].sku"', '"Y"'),
        # fallbacks
        ('{"$path":"$.data.zz","$default":"n/a"}', '"n/a"'),
        ('{"$path":"$.data.none","$default":"n/a"}', "null"),
        ('{"$path":"$.data.zz","$default":"$.data.name"}', '"#1001"'),
        ('{"$path":"$.data.name"}', '"#1001"'),
        ('[{"$path":"$.data.zz","$default":"$.data.zz"}]', "[]"),
        ('{"$coalesce":["$.data.zz","$.data.none","$.data.name","x"]}', '"#1001"'),
        ('{"$coalesce":["$.data.none","$.data.zz"]}', "null"),
        ('[{"$coalesce":["$.data.yy","$.data.zz"]}]', "[]"),
        ('{"$coalesce":["$.data.yy","$.data.zz"],"$default":0}', "0"),
        # lists
        ('{"$all":"$.data.items[*].sku"}', '["X","Y",null]'),
        ('{"$all":"$.data.items[*].zz"}', "[]"),
        ('{"$all":"$.data.customer"}', '[{"first":"Bob","last":"Norman","phone":null}]'),
        ('{"$each":"$.data.items","$to":"@.sku"}', '["X","Y",null]'),
        ('{"$each":"$.data.items","$to":"@.price"}', '["10.00","9.50"]'),
        (
            '{"$each":"$.data.items[?(@.q > 0)]","$to":{"s":"@.sku","o":"$.data.name"}}',
            '[{"s":"X","o":"#1001"},{"s":"Y","o":"#1001"}]',
        ),
        ('{"$each":"$.data.items[:1]","$to":"@"}', '[{"sku":"X","price":"10.00","q":1,"props":[{"n":"a"},{"n":"b"}]}]'),
        ('[{"$each":"$.data.zz","$to":"@"}]', "[]"),
        ('{"$each":"$.data.zz[*]","$to":"@"}', "[]"),
        ('{"$each":"$.data.none","$to":"@"}', "null"),
        ('{"$each":"$.data.zz","$to":"@","$default":[]}', "[]"),
        ('{"$each":["$.data.id","$.data.zz",5],"$to":{"v":"@"}}', '[{"v":820982911946154508},{"v":5}]'),
        (
            '{"$each":"$.data.items[:2]","$to":{"$each":"@.props","$to":["@.n","@@.sku","$.id"]}}',
            '[[["a","X","evt_1"],["b","X","evt_1"]],[]]',
        ),
        ('{"$each":{"$each":"$.data.items","$to":{"a":["@"]}},"$to":{"$count":"@.a"}}', "[1,1,1]"),
        ('{"$each":{"$all":"$.data.items[:1]"},"$to":{"$all":"@.props[*]"}}', '[[{"n":"a"},{"n":"b"}]]'),
        ('{"$each":{"$all":"$.data.items[:1]"},"$to":{"$path":"@.props"}}', '[[{"n":"a"},{"n":"b"}]]'),
        # conditions
        ('{"$if":"$.data[?(@.price > 100)]","$then":"big","$else":"small"}', '"big"'),
        ('{"$if":"$.data[?(@.price > 900)]","$then":"big","$else":"$.data.name"}', '"#1001"'),
        ('[{"$if":"$.data.zz","$then":1}]', "[]"),
        ('{"$if":"$.data.none","$then":1}', "1"),
        ('{"$each":"$.data.items","$to":{"$if":"@[?(@.q > 0)]","$then":"@.sku"}}', '["X","Y"]'),
        ('{"$upper":{"$if":"$.data.yes","$then":"$.data.tags"}}', '"VIP, NEW"'),
        # merge
        (
            '{"$merge":["$.data.customer",{"last":"N.","x":["$.id"]},"$.data.none","$.data.zz"]}',
            '{"first":"Bob","last":"N.","phone":null,"x":["evt_1"]}',
        ),
        # text
        ('{"$string":"$.data.big"}', '"123456789012345678901234567890"'),
        ('{"$string":"$.data.tax"}', '"0.10"'),
        ('{"$string":"$.data.yes"}', '"true"'),
        ('{"$string":"$.data.items[0].props"}', r'"[{\"n\":\"a\"},{\"n\":\"b\"}]"'),
        ('{"$string":"$.data.none"}', "null"),
        ('[{"$string":"$.data.zz"}]', "[]"),
        ('{"$trim":"$.data.mail"}', '"Bob@Example.COM"'),
        ('{"$lower":{"$trim":"$.data.mail"}}', '"bob@example.com"'),
        ('{"$upper":"$.data.tags"}', '"VIP, NEW"'),
        ('{"$substring":"$.data.name","$start":1}', '"1001"'),
        ('{"$substring":"$.data.name","$start":-4,"$length":2}', '"10"'),
        ('{"$substring":"$.data.name","$start":-99,"$length":2}', '"#1"'),
        ('{"$substring":"$.data.name","$start":99}', '""'),
        ('{"$substring":"$.data.name","$length":0}', '""'),
        (
            '{"$concat":["Order ","$.data.name",": ",{"$value":"$"},"$.data.price","$.data.zz","$.data.none"]}',
            '"Order #1001: $199.00"',
        ),
        ('{"$concat":["$.data.zz"]}', '""'),
        (
            '{"$join":["$.data.customer.first","$.data.customer.zz","$.data.customer.last"],"$separator":" "}',
            '"Bob Norman"',
        ),
        ('{"$each":{"$split":"$.data.tags","$separator":", "},"$to":{"$concat":["#","@"]}}', '["#vip","#new"]'),
        ('{"$each":"$.data.items[:1]","$to":{"$concat":[{"$value":"@"},"@.sku"]}}', '["@X"]'),
        ('{"$join":"$.data.items[*].sku","$separator":"; "}', '"X; Y"'),
        ('{"$join":"$.data.items[0].props","$separator":"|"}', r'"{\"n\":\"a\"}|{\"n\":\"b\"}"'),
        ('{"$join":{"$each":"$.data.items","$to":{"$concat":["@.q","x"]}},"$separator":""}', '"1x2x0x"'),
        ('[{"$join":"$.data.zz","$separator":""},{"$join":"$.data.none","$separator":""}]', "[null]"),
        ('{"$split":"$.data.tags","$separator":", "}', '["vip","new"]'),
        ('{"$first":{"$split":"$.data.tags","$separator":", "}}', '"vip"'),
        ('{"$last":"$.data.items[*].sku"}', "null"),
        ('{"$first":"$.data.items[?(@.q > 1)].sku"}', '"Y"'),
        ('[{"$first":[]},{"$last":"$.data.zz"},{"$first":"$.data.none"}]', "[null]"),
        # numbers
        ('{"$number":"$.data.price"}', "199.00"),
        ('{"$number":"$.data.tax"}', "0.10"),
        ('[{"$number":" +007.50 "},{"$number":"-0"},{"$number":"1e5"},{"$number":"000"}]', "[7.50,-0,1e5,0]"),
        ('{"$number":"$.data.name","$default":0}', "0"),
        ('{"$number":"$.data.price","$decimals":0}', "199"),
        ('[{"$number":2.5,"$decimals":0},{"$number":-2.5,"$decimals":0},{"$number":1,"$decimals":2}]', "[3,-3,1.00]"),
        ('{"$number":"$.data.none","$decimals":0}', "null"),
        ('{"$count":"$.data.items"}', "3"),
        ('{"$count":"$.data.items[?(@.q > 0)]"}', "2"),
        ('{"$count":"$.data.customer"}', "3"),
        ('[{"$count":"$.data.zz"},{"$count":"$.data.zz[*]"},{"$count":"$.data.none"}]', "[0,null]"),
        ('{"$sum":"$.data.items[*].price"}', "19.50"),
        ('{"$sum":["$.data.big",0.1,null,"$.data.zz"]}', "123456789012345678901234567890.1"),
        ('{"$sum":[]}', "0"),
        ('[{"$sum":["10.00","9.5"]},{"$sum":[1e3,0]},{"$multiply":["94.50","0.10"]}]', "[19.50,1000,9.4500]"),
        ('{"$multiply":["$.data.price",100],"$decimals":0}', "19900"),
        ('{"$multiply":["$.data.tax","$.data.none"]}', "null"),
        ('[{"$multiply":["$.data.tax","$.data.none","$.data.zz"]}]', "[]"),
        # dates
        ('{"$date":"$.data.created_at"}', '"2021-12-31T19:00:00-05:00"'),
        ('{"$date":"$.data.created_at","$zone":"UTC"}', '"2022-01-01T00:00:00Z"'),
        ('{"$date":"$.data.created_at","$format":"unix"}', "1640995200"),
        ('{"$date":1700000000,"$format":"%Y/%m"}', '"2023/11"'),
        ('{"$date":1700000000.5,"$format":"unix_ms"}', "1700000000500"),
        ('{"$date":"$.data.none"}', "null"),
        ('{"$date":"$.data.name","$default":null}', "null"),
    ],
)
def test_what_a_template_makes(template: str, expected: str) -> None:
    envelope = compile_transformation('{"map":"$"}').apply(an_event()).decode()
    assert mapped(template) == expected.replace("ENVELOPE", envelope)


def test_an_empty_transformation_sends_the_bytes_that_came() -> None:
    data = b'{ "total":  1.10 }'
    assert compile_transformation("{}").apply(an_event(data)) == an_event(data).body
    assert compile_transformation('{"omit":[],"rename":{}}').apply(an_event(data)) == an_event(data).body
    assert body_for("", an_event(data)) == an_event(data).body
    assert body_for('{"map":"$.data"}', an_event(data)) == b'{"total":1.10}'


@pytest.mark.parametrize(
    ("spec", "path", "message"),
    [
        ("", "", "not JSON"),
        ("{", "", "line 1 column 2"),
        ("\ud800", "", "not UTF-8"),
        ("[]", "", "expected an object such as"),
        ('{"map":1,"map":2}', "", "the key 'map' is given twice"),
        ('{"map":' + "[" * 24 + "]" * 24 + "}", "", "too deep: more than 24"),
        ('{"map":"' + "x" * 33_000 + '"}', "", "too large"),
        ('{"mapp":{}}', "/mapp", "unknown; a transformation has omit, rename, map"),
        ('{"omit":"$.a"}', "/omit", "expected a list of paths"),
        ('{"omit":["$.a",5]}', "/omit/1", "expected a path in quotes, not a number"),
        ('{"omit":["$.a","@.b"]}', "/omit/1", "there is none here"),
        ('{"omit":["$"]}', "/omit/0", "this is the whole event"),
        ('{"omit":["$[?(@.id)]"]}', "/omit/0", "this is the whole event"),
        ('{"rename":[]}', "/rename", "expected an object of paths and names"),
        ('{"rename":{"$.a[0]":"x"}}', "/rename/$.a[0]", "ends in one name"),
        ('{"rename":{"$[\'a\',\'b\']":"x"}}', "/rename/$['a','b']", "ends in one name"),
        ('{"rename":{"$":"x"}}', "/rename/$", "ends in one name"),
        ('{"rename":{"$[\'a/b\']":""}}', "/rename/$['a~1b']", "1 to 200 characters"),
        ('{"rename":{"$.data.a":"$.data.b"}}', "/rename/$.data.a", "a name and not a path"),
        ('{"rename":{"$.a":"' + "x" * (MAX_NAME_CHARS + 1) + '"}}', "/rename/$.a", "1 to 200 characters"),
        ('{"map":{"a":{"b":"$.x["}}}', "/map/a/b", "at character 4"),
        ('{"map":["$.50 off"]}', "/map/0", "If this is meant as text"),
        ('{"map":{"a/b~c":"$.."}}', "/map/a~1b~0c", "ends too early"),
        ('{"map":"@.x"}', "/map", "there is none here"),
        ('{"map":{"$upperr":"$.a"}}', "/map/$upperr", r"did you mean \$upper\?"),
        ('{"map":{"$zzz":1}}', "/map/$zzz", r"there are \$all, .* written \$\$zzz"),
        ('{"map":{"$upper":"$.a","plain":1}}', "/map/plain", "a function and a plain key do not go together"),
        ('{"map":{"$upper":"$.a","$$plain":1}}', "/map/$$plain", "a function and a plain key do not go together"),
        ('{"map":{"$upper":"$.a","$lower":"$.a"}}', "/map", r"\$upper and \$lower do not go together"),
        ('{"map":{"$to":"@"}}', "/map", r"\$to needs its function"),
        ('{"map":{"$upper":"$.a","$format":"iso"}}', "/map/$format", r"\$upper takes no \$format"),
        ('{"map":{"$path":5}}', "/map/$path", "expected a path in quotes, not a number"),
        ('{"map":{"$all":["$.a"]}}', "/map/$all", "expected a path in quotes, not a list"),
        ('{"map":{"$each":"$.a"}}', "/map", r"\$each needs \$to"),
        ('{"map":{"$each":5,"$to":1}}', "/map/$each", "expected a path or a list, not a number"),
        ('{"map":{"$each":"$.a","$to":"@@.x"}}', "/map/$to", r"only 1 `\$each` around"),
        ('{"map":{"$if":"$.a"}}', "/map", r"\$if needs \$then"),
        ('{"map":{"$if":true,"$then":1}}', "/map/$if", "expected a path in quotes, not a boolean"),
        ('{"map":{"$coalesce":"$.a"}}', "/map/$coalesce", "expected a list, not text"),
        ('{"map":{"$merge":{}}}', "/map/$merge", "expected a list, not an object"),
        ('{"map":{"$merge":null}}', "/map/$merge", "expected a list, not null"),
        ('{"map":{"$concat":["a","$"]}}', "/map/$concat/1", r"whole event here; .*\"\$value\""),
        ('{"map":{"$each":"$.a","$to":{"$concat":["@","@.login"]}}}', "/map/$to/$concat/0", "whole item here"),
        ('{"map":{"$join":["$"],"$separator":""}}', "/map/$join/0", "is the whole event here"),
        ('{"map":{"$join":"$.a"}}', "/map", r"\$join needs \$separator"),
        ('{"map":{"$join":"$.a","$separator":1}}', "/map/$separator", "expected text, not a number"),
        ('{"map":{"$split":"$.a","$separator":""}}', "/map/$separator", "the separator is empty"),
        ('{"map":{"$substring":"$.a","$start":1.5}}', "/map/$start", "a whole number from -1000000 to 1000000"),
        ('{"map":{"$substring":"$.a","$length":-1}}', "/map/$length", "a whole number from 0"),
        ('{"map":{"$substring":"$.a","$length":true}}', "/map/$length", "a whole number from 0"),
        ('{"map":{"$number":"$.a","$decimals":21}}', "/map/$decimals", "a whole number from 0 to 20"),
        ('{"map":{"$date":"$.a","$format":"rfc"}}', "/map/$format", "not a date format"),
        ('{"map":{"$date":"$.a","$zone":"CET"}}', "/map/$zone", "write UTC or an offset"),
        ('{"map":' + '{"$each":"$.a","$to":' * 5 + "1" + "}" * 5 + "}", "/map/$to/$to/$to/$to", "more than 4"),
        ('{"map":[' + "1," * 1000 + "1]}", "/map/999", "at most 1000 parts"),
        ('{"map":[' + '"$.a",' * 200 + '"$.a"]}', "/map/200", "more than 200 paths"),
    ],
)
def test_a_wrong_specification_is_refused_with_the_place(spec: str, path: str, message: str) -> None:
    with pytest.raises(SpecError, match=message) as refused:
        compile_transformation(spec)
    assert refused.value.path == path
    assert not refused.value.message.startswith("/")


@pytest.mark.parametrize(
    ("template", "reason", "path"),
    [
        ('"$.data.zz"', "nothing_to_send", "/map"),
        ('{"x":{"$each":"$.data.name","$to":1}}', "not_a_list", "/map/x/$each"),
        ('{"x":{"$join":"$.data.customer","$separator":""}}', "not_a_list", "/map/x/$join"),
        ('{"x":{"$sum":{"$path":"$.data.name"}}}', "not_a_list", "/map/x/$sum"),
        ('{"$first":"$.data.name"}', "not_a_list", "/map/$first"),
        ('{"x":{"$count":"$.data.yes"}}', "not_a_list", "/map/x"),
        ('{"$merge":["$.data.items"]}', "not_an_object", "/map"),
        ('{"$number":"$.data.name"}', "not_a_number", "/map"),
        ('{"$number":"$.data.yes"}', "not_a_number", "/map"),
        ('{"$number":"$.data.customer"}', "not_a_number", "/map"),
        ('[{"$upper":{"$number":"$.data.tags"}}]', "not_a_number", "/map/0/$upper"),
        ('{"$sum":"$.data.items[*].sku"}', "not_a_number", "/map"),
        ('{"$multiply":["$.data.name",1]}', "not_a_number", "/map"),
        ('{"$date":"$.data.name"}', "not_a_date", "/map"),
        ('{"$date":"$.data.items"}', "not_a_date", "/map"),
        ('{"$date":1e30}', "not_a_date", "/map"),
        ('{"$sum":[1e61]}', "number_too_large", "/map"),
        ('{"$sum":[1e-61]}', "number_too_large", "/map"),
        ('{"$sum":[1e99999999999999999999]}', "number_too_large", "/map"),
        ('{"$multiply":[1e40,1e40]}', "number_too_large", "/map"),
    ],
)
def test_an_event_that_can_not_be_transformed_is_refused_with_reason_and_place(
    template: str, reason: str, path: str
) -> None:
    with pytest.raises(TransformError) as refused:
        mapped(template)
    assert (refused.value.reason, refused.value.path) == (reason, path)


def test_a_default_replaces_what_fails_anywhere_inside() -> None:
    template = '{"a":{"$upper":{"$concat":["x",{"$number":"$.data.name"}]},"$default":"?"}}'
    assert mapped(template) == '{"a":"?"}'


def test_a_default_does_not_hide_too_much_work() -> None:
    spec = '{"map":{"$each":"$.data","$to":{"$if":"$.data[*]","$then":{"$count":"$.data[*]"}},"$default":[]}}'
    with pytest.raises(TransformError) as refused:
        compile_transformation(spec).apply(an_event(b"[" + b"1," * 2000 + b"1]"))
    assert refused.value.reason == "too_much_work"


def test_a_larger_event_allows_more_work() -> None:
    """Twenty passes over an event of any of these sizes are allowed, but not a pass for each of its parts."""
    personal = json.dumps({"omit": [f"$..name{number}" for number in range(20)]})
    counting = '{"map":{"$each":"$.data","$to":{"$count":"$.data[*].a.b"}}}'
    for count in (10, 100, 1_000):
        items = an_event(json.dumps([{"a": {"b": "text" * 20}, "name1": 1}] * count).encode())
        assert b"name1" not in compile_transformation(personal).apply(items)
    assert compile_transformation(counting).apply(an_event(b"[" + b"1," * 50 + b"1]")) == b"[" + b"0," * 50 + b"0]"
    with pytest.raises(TransformError, match="more than the 21204 steps that this event allows"):
        compile_transformation(counting).apply(an_event(b"[" + b"1," * 149 + b"1]"))


def test_an_event_that_is_not_json_is_refused() -> None:
    with pytest.raises(TransformError) as refused:
        mapped('"$"', b"{")
    assert refused.value.reason == "not_json"


@pytest.mark.parametrize(
    "template",
    [
        '{"$each":"$.data.l","$to":"$"}',
        '{"$each":"$.data.l","$to":["$","$"]}',
        '{"$all":"$..*"}',
        '{"$each":"$.data.l","$to":"' + "x" * 5000 + '"}',
        '{"$each":"$.data.l","$to":{"' + "k" * 5000 + '":1}}',
        '{"$concat":["$.data.t","$.data.t","$.data.t"]}',
        '{"$each":{"$each":"$.data.l","$to":"$"},"$to":"@"}',
        '{"$string":{"$each":"$.data.l","$to":"$"}}',
        '{"$merge":[{"a":{"$each":"$.data.l","$to":"$"}}]}',
        '{"$each":"$.data.l","$to":123456789012345678901234567890}',
    ],
)
def test_an_output_that_would_be_too_large_is_never_built(template: str) -> None:
    data = json.dumps({"l": [[[[["deep"]]]]] * 200, "t": "t" * 9000}).encode()
    spec = compile_transformation(f'{{"map":{template}}}')
    with pytest.raises(TransformError) as refused:
        spec.apply(an_event(data), max_output_bytes=5_000 if "1234" in template else 25_000)
    assert refused.value.reason == "output_too_large"


def test_the_final_size_is_exact() -> None:
    quotes = json.dumps('"' * 100)
    spec = compile_transformation('{"map":"$.data"}')
    assert len(spec.apply(an_event(quotes.encode()), max_output_bytes=202)) == 202
    with pytest.raises(TransformError, match="larger than the 201 bytes allowed"):
        spec.apply(an_event(quotes.encode()), max_output_bytes=201)


def test_one_compiled_transformation_serves_many_threads() -> None:
    spec = '{"map":{"$each":"$.data.items","$to":{"s":"@.sku","n":"$.data.name"}}}'
    expected = compile_transformation(spec).apply(an_event())
    wrong: list[bytes] = []

    def work() -> None:
        for _ in range(200):
            body = compile_transformation(spec).apply(an_event())
            if body != expected:
                wrong.append(body)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
