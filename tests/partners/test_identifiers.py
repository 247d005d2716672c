import re

import pytest

from partners.errors import IdentifierError
from partners.identifiers import check_event_id, new_id


def test_an_identifier_is_its_prefix_and_32_hex_digits() -> None:
    assert re.fullmatch(r"dlv_[0-9a-f]{32}", new_id("dlv"))


def test_identifiers_sort_by_the_time_they_were_made() -> None:
    made = [new_id("evt") for _ in range(10_000)]
    assert made == sorted(made)
    assert len(set(made)) == len(made)


@pytest.mark.parametrize("good", ["a", "order-1/created", "!" * 200, "gid://shopify/Order/1"])
def test_a_producers_event_id_is_kept_unchanged(good: str) -> None:
    assert check_event_id(good) == good


@pytest.mark.parametrize("wrong", ["", "a b", "a" * 201, "é", "a\n", "\x00"])
def test_an_event_id_that_can_not_be_a_header_is_refused(wrong: str) -> None:
    with pytest.raises(IdentifierError, match="visible ASCII"):
        check_event_id(wrong)
