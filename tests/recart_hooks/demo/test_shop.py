import itertools

from partners.catalogue import parse_catalogue
from partners.event_schemas import compile_schema
from recart_hooks.demo.seed import CATALOGUE
from recart_hooks.demo.shop import Shop


def test_everything_that_the_shop_sells_is_in_the_catalogue_and_follows_its_schema() -> None:
    schemas = {one.name: compile_schema(one.schema) for one in parse_catalogue(CATALOGUE.read_bytes(), CATALOGUE.name)}

    for event in itertools.islice(Shop("run").events(), 500):
        schemas[event.type].check(event.data)


def test_a_year_of_the_shop_has_all_kinds_of_events_and_no_id_twice() -> None:
    events = list(itertools.islice(Shop("run").events(), 1000))

    assert {event.type for event in events} == {
        "carts.abandoned",
        "orders.created",
        "orders.cancelled",
        "orders.paid",
        "reviews.requested",
        "refunds.created",
    }
    assert len({event.id for event in events}) == 1000


def test_two_runs_of_the_same_seed_differ_by_their_ids_only() -> None:
    first, second = (list(itertools.islice(Shop(run).events(), 50)) for run in ("a", "b"))

    assert [event.type for event in first] == [event.type for event in second]
    assert {event.id for event in first}.isdisjoint(event.id for event in second)
