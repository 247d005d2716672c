import pytest
from jsonpath_ng import Child, JSONPath, Parent, Root
from jsonpath_ng.ext.filter import Filter

from partners.budget import Budget
from partners.errors import SpecError, TransformError
from partners.exact_json import Number, Value, loads
from partners.paths import MISSING, Scope, compile_path

EVENT = loads(
    b"""{"id": "e", "data": {
        "total_price": "199.00", "a b": 1, "x-y": 2, "n": null, "paid": true, "big": 12345678901234567890123,
        "line_items": [{"sku": "X", "price": "10.00", "q": 1}, {"sku": "Y", "price": "9.00", "q": 2}],
        "customer": {"tags": ["vip", "new"]}}}"""
)


def find(path: str, *items: Value) -> list[Value]:
    return compile_path(path, len(items)).all(Scope(EVENT, Budget(), items))


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("$.data.total_price", ["199.00"]),
        ("$.data.missing", []),
        ("$.data.total_price.more", []),
        ("$.data.n", [None]),
        ("$.data['a b']", [1]),
        ('$.data["x-y"]', [2]),
        ("$.data.x-y", [2]),
        ("$.data['a b','x-y','zz']", [1, 2]),
        ("$.data.line_items[0].sku", ["X"]),
        ("$.data.line_items[-1].sku", ["Y"]),
        ("$.data.line_items[2].sku", []),
        ("$.data.line_items[-3].sku", []),
        ("$.data.total_price[0]", []),
        ("$.data[0]", []),
        ("$.data.line_items.sku", []),
        ("$.data.line_items[*].sku", ["X", "Y"]),
        ("$.data.line_items.*.sku", ["X", "Y"]),
        ("$.data.line_items[1,0,7].sku", ["Y", "X"]),
        ("$.data.line_items[1:].sku", ["Y"]),
        ("$.data.line_items[::-1].sku", ["Y", "X"]),
        ("$.data[1:]", []),
        ("$.data.total_price[*]", []),
        ("$..sku", ["X", "Y"]),
        ("$.data..tags[0]", ["vip"]),
        ("$..[*].sku", ["X", "Y"]),
    ],
)
def test_what_a_path_finds(path: str, expected: list[Value]) -> None:
    assert find(path) == expected


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("$.data[?(@.total_price > 100)].x-y", [2]),
        ("$.data[?(@.total_price > 199)].x-y", []),
        ("$.data.line_items[?(@.sku == 'X')].q", [1]),
        ("$.data.line_items[?@.sku == 'X'].q", [1]),
        ("$.data.line_items[?(@.sku == 'X' | @.q == 2)].q", [1, 2]),
        ("$.data.line_items[?(@.sku == 'X' & @.q == 2)].q", []),
        ("$.data.line_items[?(@.sku == 'X' || @.sku == 'Y' && @.q == 1)].q", [1]),
        ("$.data.line_items[?((@.sku == 'X' || @.sku == 'Y') && @.q == 2)].q", [2]),
        ("$.data.line_items[?(@.q)].q", [1, 2]),
        ("$.data.line_items[?(!@.zz)].q", [1, 2]),
        ("$.data.line_items[?(!@.q)].q", []),
        ("$.data.line_items[?(@.zz == 1)].q", []),
        ("$.data.line_items[?(@.zz != 1)].q", [1, 2]),
        ("$.data.line_items[?(@.zz <= 1)].q", []),
        ("$.data.line_items[?(@.q == $.data.x-y)].sku", ["Y"]),
        ("$.data.line_items[?(@.q == @.zz)].sku", []),
        ("$.data.line_items[?(@.q != @.zz)].sku", ["X", "Y"]),
        ("$.data.line_items[?(@.yy == @.zz)].sku", ["X", "Y"]),
        ("$.data.line_items[?(@.yy >= @.zz)].sku", ["X", "Y"]),
        ("$.data.line_items[?(@.yy < @.zz)].sku", []),
        ("$.data.line_items[?(@.yy != @.zz)].sku", []),
        ("$.data.customer.tags[?(@ == 'vip')]", ["vip"]),
        ("$.data[?(@.customer.tags[*] == 'vip')].x-y", [2]),
        ("$.data[?(@.line_items[?(@.q == 2)])].x-y", [2]),
        ("$.data[?(@.line_items[?(@.q == 3)])].x-y", []),
        ("$.data[?(@.n == null)].x-y", [2]),
        ("$.data[?(@.n)].x-y", [2]),
        ("$.data[?(@.n != null)].x-y", []),
        ("$.data[?(@.paid == true)].x-y", [2]),
        ("$.data[?(@.big == 12345678901234567890123)].x-y", [2]),
        ("$.data[?(@.big > 12345678901234567890122.9)].x-y", [2]),
        ("$.data[?(@.big == 12345678901234567890124)].x-y", []),
        ("$[?(@.data.paid == true && @.id = 'e')].id", ["e"]),
        ("$[?(@..sku == 'Y')].id", ["e"]),
        ("$..[?(@.sku == 'Y')].q", [2]),
        ("$..[?(@ == 'vip')]", ["vip"]),
        ("$.data.total_price[?(@ == '199.00')]", []),
    ],
)
def test_what_a_filter_finds(path: str, expected: list[Value]) -> None:
    assert find(path) == expected


def test_a_filter_on_an_object_tests_the_object_and_not_its_values() -> None:
    assert find("$.data.customer[?(@.tags)]") == [{"tags": ["vip", "new"]}]
    assert find("$.data[?(@.tags)]") == []


def test_at_signs_lead_to_the_items_around() -> None:
    outer: Value = {"name": "outer"}
    inner: Value = {"name": "inner", "list": [{"of": "outer"}, {"of": "inner"}]}
    assert find("@.name", outer, inner) == ["inner"]
    assert find("@@.name", outer, inner) == ["outer"]
    assert find("@", outer, inner) == [inner]
    assert find("@.list[?(@.of == 'outer')]", outer, inner) == [{"of": "outer"}]
    assert find("@.list[?($.id == 'e')].of", outer, inner) == ["outer", "inner"]


@pytest.mark.parametrize(
    ("path", "levels", "message"),
    [
        ("@.x", 0, "asks for an item, but there is none here"),
        ("@@.x", 1, "there are only 1 `\\$each` around it"),
        ("@@x", 2, "a dot is missing"),
        ("$..a..b", 0, r"at most one `\.\.`"),
        ("$..a[?(@..b)]", 0, r"at most one `\.\.`"),
        ("$[::0]", 0, "step 0 finds nothing"),
        ("$[1,'a']", 0, "\"'a'\" makes no sense there, at character 5"),
        ("$['a',1]", 0, "'1' makes no sense there, at character 7"),
        ("$[?(@.a == @.b[*])]", 0, "makes no sense there"),
        ("$[?(!(@.a == 1))]", 0, "makes no sense there"),
        ("$" + ".a" * 33, 0, "at most 32 steps; .* has 33"),
        ("$[?(" + " || ".join(["@.a"] * 21) + ")]", 0, "at most 20 conditions"),
    ],
)
def test_what_the_grammar_leaves_out_is_refused(path: str, levels: int, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        compile_path(path, levels)


@pytest.mark.parametrize(
    ("path", "definite"),
    [
        ("$.a[0]['b']", True),
        ("$", True),
        ("$.a[*]", False),
        ("$..a", False),
        ("$.a[0:1]", False),
        ("$['a','b']", False),
    ],
)
def test_a_definite_path_leads_to_one_value_at_most(path: str, definite: bool) -> None:
    assert compile_path(path).is_definite is definite


@pytest.mark.parametrize("condition", [" || ".join(["@.a"] * 20), " || ".join(["(@.a && @.a)"] * 10)])
def test_only_comparisons_count_as_conditions(condition: str) -> None:
    compile_path(f"$[?({condition})]")


def test_the_first_value_of_several_is_taken() -> None:
    scope = Scope(EVENT, Budget())
    assert compile_path("$.data.line_items[*].sku").first(scope) == "X"
    assert compile_path("$.data.line_items[?(@.q > 5)].sku").first(scope) is MISSING
    assert compile_path("$.data.nothing").first(scope) is MISSING
    assert repr(MISSING) == "MISSING"


@pytest.mark.parametrize(
    "tree", [Parent(), Child(Root(), Parent()), Child(Root(), Root()), Child(Root(), Filter([Parent()]))], ids=str
)
def test_a_newer_library_can_not_extend_the_language(tree: JSONPath) -> None:
    """A node that the library may have some day is refused, because it is not on the allow-list."""
    with pytest.raises(SpecError, match="is not available in a path"):
        compile_path("$[*]", parse=lambda tokens: tree)


def test_a_path_that_does_not_parse_leaves_the_parser_as_it_was() -> None:
    for _ in range(3):
        with pytest.raises(SpecError):
            compile_path("$[?(!(@.a == 1))]")
        assert find("$.data.line_items[?(@.q == 2)].sku") == ["Y"]


@pytest.mark.parametrize(
    "path",
    ["$..*", "$.data[*]", "$.data[:]", "$..[?(@)]", "$.data[?(@.a[*])]", "$.data['a','b','c','d']", "$.data[0,0,0,0]"],
)
def test_work_is_counted(path: str) -> None:
    wide: Value = {"data": [{"a": [1, 2, 3]} for _ in range(40)]}
    with pytest.raises(TransformError) as refused:
        compile_path(path).all(Scope(wide, Budget(max_steps=3)))
    assert refused.value.reason == "too_much_work"


def test_numbers_are_numbers() -> None:
    assert find("$.data.big") == [Number("12345678901234567890123")]
