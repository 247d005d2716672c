"""The serializers of subscriptions, with the reference of their fields."""

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from partners.api.fields import Elements, ExactJSON, Flag, Matching, Members, Moment, Seconds, StrictSerializer, Text
from partners.models import Subscription
from partners.patterns import EVENT_TYPE_MAX, PATTERNS_MAX, TYPE_REGEX
from partners.validation import LONGEST_DELAY_S, MAX_ATTEMPTS, MAX_HEADERS, MAX_HEADERS_BYTES

PATTERN = rf"^(\*|{TYPE_REGEX}(\.\*)?)$"
EXAMPLE_INPUT = {
    "url": "https://hooks.example.com/recart",
    "event_types": ["orders.*", "carts.abandoned"],
    "description": "production",
    "filter": "$.data[?(@.total_price > 100)]",
    "transformation": {
        "omit": ["$.data.customer.email"],
        "rename": {"$.data.customer": "buyer"},
        "map": {"order": "$.data.id", "paid": "$.data.total_price", "buyer": "$.data.buyer"},
    },
    "headers": {"Authorization": "Basic cmVjYXJ0Om9wZW4tc2VzYW1l", "X-Tenant": "blue"},
    "retry_schedule_s": [5, 60, 600, 3600],
    "timeout_s": 10,
}
EXAMPLE = {
    "id": "sub_0192f1c7a5b07d3e8a4e5f60718293a4",
    **{name: value for name, value in EXAMPLE_INPUT.items() if name != "headers"},
    "header_names": ["Authorization", "X-Tenant"],
    "is_enabled": True,
    "disabled_at": None,
    "disabled_reason": "",
    "failing_since": None,
    "is_operational": False,
    "created_at": "2026-05-01T12:00:00.000000Z",
    "updated_at": "2026-05-01T12:00:00.000000Z",
}


_REFERENCE = "The whole language, with many examples: [transformations.md](/api/docs/transformations.md)."
FILTER_HELP = (
    """\
A path; the event is sent if it finds something. `$` is the event: `$.id`, `$.type`, `$.timestamp` and, under `$.data`,
what happened. Conditions stand in `[?(...)]`, with `==`, `!=`, `<`, `<=`, `>`, `>=`, `!`, `&&`, `||` and parentheses;
on an object they test the object, on a list its elements: `$.data[?(@.total_price > 100 && @.currency == 'USD')]`,
`$.data.line_items[?(@.sku == 'IPOD-8')]`. Empty: every event. """
    + _REFERENCE
)
TRANSFORMATION_HELP = (
    """\
What is sent instead of the event as it is. Null: nothing is changed. An object of up to three parts, which apply in
this order; `$` is the event, as in a filter:

- `omit`, a list of paths: what they find is removed.
- `rename`, an object of path to new name: the keys that they lead to get that name.
- `map`, a template of the body. Text that is a path becomes the value at that place, and what is not there is left out.
  An object with a function as a key becomes the function's result. Everything else stays. Without `map` the body is the
  whole event, as `omit` and `rename` left it.

Of the event

```json
{"id": "evt_1", "type": "orders.created", "timestamp": "2026-05-01T12:00:00.000000Z", "data": {
  "id": 42, "total_price": "199.00", "customer": {"name": "Ada", "email": "ada@example.com"}, "items": [{"sku": "A"}]}}
```

the transformation

```json
{"omit": ["$.data.customer.email"],
 "rename": {"$.data.customer": "buyer"},
 "map": {"order": "$.data.id", "buyer": "$.data.buyer", "note": "$.data.note", "source": "shop",
         "paid": {"$number": "$.data.total_price"}, "skus": {"$each": "$.data.items", "$to": "@.sku"}}}
```

makes

```json
{"order": 42, "buyer": {"name": "Ada"}, "source": "shop", "paid": 199.00, "skus": ["A"]}
```

Functions: values `$path`, `$value`, `$coalesce`, `$if` (with `$then`, `$else`); lists `$each` (with `$to`), `$all`,
`$count`, `$first`, `$last`, `$merge`; text `$string`, `$lower`, `$upper`, `$trim`, `$substring`, `$concat`, `$join`,
`$split`; numbers `$number`, `$sum`, `$multiply`; `$date`. `$default` beside a function is the value if it has none. Try
it with `POST /preview`. """
    + _REFERENCE
)


@extend_schema_field(
    {
        "type": ["object", "null"],
        "properties": {
            "omit": {"type": "array", "items": {"type": "string"}},
            "rename": {"type": "object", "additionalProperties": {"type": "string"}},
            "map": {},
        },
        "additionalProperties": False,
    }
)
class Transformation(ExactJSON):
    """`{"omit", "rename", "map"}`, see docs/transformations.md."""


class SubscriptionShape(serializers.Serializer[Subscription]):
    id = serializers.CharField()
    url = serializers.CharField()
    event_types = serializers.ListField(child=serializers.CharField())
    description = serializers.CharField()
    filter = serializers.CharField(help_text="The event is sent if this path finds something; empty: every event.")
    transformation = Transformation(help_text="Null: events are sent as they are.")
    header_names = serializers.ListField(
        child=serializers.CharField(), help_text="The names of `headers`. Their values are not shown again."
    )
    retry_schedule_s = serializers.ListField(
        child=serializers.FloatField(), allow_null=True, help_text="Seconds between attempts; null: the default."
    )
    timeout_s = serializers.FloatField()
    is_enabled = serializers.BooleanField()
    disabled_at = Moment(allow_null=True)
    disabled_reason = serializers.CharField(
        help_text="`gone`, `failing`, `partner`, `staff` or `unverified`; empty while it is enabled. On trial it is "
        "enabled and stays `failing` until a delivery succeeds."
    )
    failing_since = Moment(
        allow_null=True, help_text="Since when every attempt has failed; null: not for five minutes yet."
    )
    is_operational = serializers.BooleanField(
        help_text="Created for your operational URL: gets operational events only."
    )
    created_at = Moment()
    updated_at = Moment()


class SubscriptionInput(StrictSerializer):
    reads_as = SubscriptionShape

    url = Text(max_length=2048, help_text="https or http, on a public address.")
    event_types = Elements(
        child=Matching(
            PATTERN,
            max_length=EVENT_TYPE_MAX,
            error_messages={"invalid": "expected a name or a pattern, such as orders.created, orders.* or *"},
        ),
        min_length=1,
        max_length=PATTERNS_MAX,
        help_text="Names or patterns: `orders.created`, `orders.*`, `*`.",
    )
    description = Text(max_length=500, allow_blank=True, required=False)
    filter = Text(allow_blank=True, required=False, help_text=FILTER_HELP)
    transformation = Transformation(required=False, help_text=TRANSFORMATION_HELP)
    headers = Members(
        child=Text(allow_blank=True, max_length=4096),
        max_length=MAX_HEADERS,
        required=False,
        help_text=f"Sent with every request, at most {MAX_HEADERS} of {MAX_HEADERS_BYTES:,} bytes together; they "
        "take the place of all former ones. Values are stored encrypted and never shown.",
    )
    retry_schedule_s = Elements(
        child=Seconds(min_value=1, max_value=LONGEST_DELAY_S),
        min_length=1,
        max_length=MAX_ATTEMPTS,
        allow_null=True,
        required=False,
        help_text="Seconds between attempts; null: the default, about three days.",
    )
    timeout_s = Seconds(min_value=1, max_value=30, required=False, help_text="For one attempt as a whole.")


class NewSubscriptionInput(SubscriptionInput):
    is_enabled = Flag(
        required=False,
        help_text="False: nothing is sent before `POST /subscriptions/{id}/enable`, so that you can try it out with "
        "`POST /subscriptions/{id}/test` first. Where endpoints have to be verified, `…/verify` enables it.",
    )


def shape(subscription: Subscription) -> dict[str, Any]:
    return dict(SubscriptionShape(subscription).data)
