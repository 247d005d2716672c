import pytest

from partners.errors import IdentifierError
from partners.identifiers import check, check_event_id, new_id


def test_an_identifier_is_its_prefix_and_32_hex_digits() -> None:
    assert check(new_id("dlv"), "dlv").startswith("dlv_")
    assert len(new_id("sub")) == len("sub_") + 32


def test_identifiers_sort_by_the_time_they_were_made() -> None:
    made = [new_id("evt") for _ in range(10_000)]
    assert made == sorted(made)
    assert len(set(made)) == len(made)


@pytest.mark.parametrize(
    "wrong",
    [
        "",
        "dlv",
        "dlv_",
        "dlv_" + "0" * 31,
        "dlv_" + "0" * 33,
        "dlv_" + "G" * 32,
        "sub_" + "0" * 32,
        "dlv_" + "0" * 32 + "\n",
    ],
)
def test_another_form_is_refused_by_name(wrong: str) -> None:
    with pytest.raises(IdentifierError, match="dlv_<32 hex digits>"):
        check(wrong, "dlv")


def test_a_prefix_that_is_no_prefix_is_a_mistake_of_ours() -> None:
    with pytest.raises(ValueError, match="not a prefix"):
        check("x_" + "0" * 32, "x")


@pytest.mark.parametrize("good", ["a", "order-1/created", "!" * 200, "gid://shopify/Order/1"])
def test_a_producers_event_id_is_taken_as_it_is(good: str) -> None:
    assert check_event_id(good) == good


@pytest.mark.parametrize("wrong", ["", "a b", "a" * 201, "é", "a\n", "\x00"])
def test_an_event_id_that_can_not_be_a_header_is_refused(wrong: str) -> None:
    with pytest.raises(IdentifierError, match="visible ASCII"):
        check_event_id(wrong)
