"""The OpenAPI document: adds what drf-spectacular can't derive from the code.

`describe` documents one operation: its summary, serializers, examples and problems. `complete` adds what is the same
for all operations.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from drf_spectacular.extensions import OpenApiAuthenticationExtension, OpenApiSerializerExtension
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework import serializers

from partners.api.problems import CONTENT_TYPE

F = TypeVar("F", bound=Callable[..., Any])

PROBLEMS = {
    400: "Something in the request is not valid; `errors` says where.",
    401: "No API key, or one that is unknown, expired or revoked.",
    403: "The API key's scope does not allow this.",
    404: "There is no such resource, or it is another partner's.",
    409: "The resource is in a state in which this can't be done.",
    411: "The body came without a Content-Length.",
    412: "The resource was changed since you read it (`If-Match`).",
    413: "The body is too large.",
    415: "The body is not `application/json`.",
    422: "The `Idempotency-Key` was used for another request.",
    429: "Too many requests, or (`busy`) too many slow ones at a time: wait `Retry-After` seconds.",
    503: "The service is unavailable for a moment: try again. `too_slow`: the database takes too long, narrow it.",
}
IF_MATCH = OpenApiParameter(
    "If-Match", str, OpenApiParameter.HEADER, description="The `ETag` of the state that you mean to change."
)
IF_NONE_MATCH = OpenApiParameter(
    "If-None-Match",
    str,
    OpenApiParameter.HEADER,
    description="The `ETag` of the state that you have: 304 if it is the current one.",
)
NOT_MODIFIED = OpenApiResponse(description="The state that you have is the current one.")


class ProblemPlace(serializers.Serializer[Any]):
    """Where something is wrong: one of pointer, parameter and header."""

    pointer = serializers.CharField(required=False, help_text="JSON pointer into the body, as a URI fragment.")
    parameter = serializers.CharField(required=False, help_text="Name of a parameter in the query or the path.")
    header = serializers.CharField(required=False, help_text="Name of a request header.")
    detail = serializers.CharField()


class Problem(serializers.Serializer[Any]):
    """RFC 9457 problem details."""

    type = serializers.CharField(default="about:blank")
    title = serializers.CharField(help_text="The status in words.")
    status = serializers.IntegerField(min_value=400, max_value=599)
    code = serializers.CharField(help_text="For programs: `invalid`, `not_found`, `changed_meanwhile`, …")
    detail = serializers.CharField(help_text="For people.")
    request_id = serializers.CharField(help_text="Quote it when you ask for help.")
    errors = ProblemPlace(many=True, required=False)  # type: ignore[assignment]  # RFC 9457's own example has it


def describe(  # noqa: PLR0913 - keywords, the parts of one operation
    summary: str,
    *,
    tag: str,
    name: str,
    answer: Any = None,
    status: int = 200,
    request: Any = None,
    example: Any = None,
    request_example: Any = None,
    problems: Sequence[int] = (),
    parameters: Sequence[Any] = (),
    description: str = "",
    more_answers: Mapping[int, Any] | None = None,
) -> Callable[[F], F]:
    """Documents one operation. `example` is of its answer, `request_example` of its body (`Several` by name)."""
    examples = (
        [OpenApiExample(summary, value=example, response_only=True, status_codes=[str(status)])] if example else []
    )
    for title, value in _named(request_example).items():
        examples.append(OpenApiExample(title, value=value, request_only=True))
    answers: dict[Any, Any] = {status: answer if answer is not None else OpenApiResponse(description="Done.")}
    answers.update(more_answers or {})
    for code in sorted({*problems, 400, 401, 403, 429, 503} | ({411, 413, 415} if request is not None else set())):
        answers[code, CONTENT_TYPE] = OpenApiResponse(Problem, description=PROBLEMS[code])
    return extend_schema(
        summary=summary,
        description=description or None,
        tags=[tag],
        operation_id=name,
        request=request,
        responses=answers,
        parameters=list(parameters),
        examples=examples,
    )


def _named(request_example: Any) -> Mapping[str, Any]:
    if request_example is None:
        return {}
    if isinstance(request_example, Several):
        return request_example
    return {"For example": request_example}


class Several(dict[str, Any]):
    """Several request examples by their names."""


def page_of(shape: type[serializers.Serializer[Any]], name: str) -> type[serializers.Serializer[Any]]:
    """The serializer of a page of these items."""
    return type(
        name,
        (serializers.Serializer,),
        {
            "items": shape(many=True),
            "next_cursor": serializers.CharField(
                allow_null=True, help_text="Pass it as `cursor` to get the next page; null: this is the last."
            ),
            "__doc__": "One page.",
        },
    )


class Schema(AutoSchema):
    """Drops `Shape` from the names of components: a generated client has Subscription and SubscriptionInput."""

    def get_description(self) -> str:  # type: ignore[override]  # as theirs
        """Only `describe` describes operations. The docstring of a view is for those who read the code."""
        return ""

    def get_serializer_name(self, serializer: Any, direction: Any) -> str:
        return type(serializer).__name__.removesuffix("Shape")


class BearerScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]  # theirs
    target_class = "partners.api.authentication.Bearer"
    name = "ApiKey"

    def get_security_definition(self, auto_schema: Any) -> dict[str, Any]:
        return {"type": "http", "scheme": "bearer", "description": "An API key: `rk_…`."}


class StrictShape(OpenApiSerializerExtension):  # type: ignore[no-untyped-call]  # theirs
    """Documents that a strict serializer refuses unknown members."""

    target_class = "partners.api.fields.StrictSerializer"
    match_subclasses = True

    def map_serializer(self, auto_schema: Any, direction: Any) -> dict[str, Any]:
        schema: dict[str, Any] = auto_schema._map_serializer(self.target, direction, bypass_extensions=True)
        if direction == "request":
            schema["additionalProperties"] = False
        return schema


_HEADERS: dict[str, Any] = {
    "X-Request-Id": {"description": "The id of this request, yours if you sent one.", "schema": {"type": "string"}},
    "RateLimit": {
        "description": 'What is left of the limit: `"default";r=599;t=1` (draft-ietf-httpapi-ratelimit-headers).',
        "schema": {"type": "string"},
    },
    "RateLimit-Policy": {"description": 'The limit: `"default";q=600;w=60`.', "schema": {"type": "string"}},
}
_MORE_HEADERS: dict[str, dict[str, Any]] = {
    "429": {"Retry-After": {"description": "Seconds to wait.", "schema": {"type": "string"}}},
    "401": {"WWW-Authenticate": {"description": "How to authenticate.", "schema": {"type": "string"}}},
}

_LINKS = {
    "deliveries_list": ("events_read", {"event_id": "$response.body#/items/0/event_id"}),
    "attempts_list": (
        "attempts_read",
        {"delivery_id": "$request.path.delivery_id", "number": "$response.body#/items/0/number"},
    ),
    "event_types_list": ("event_types_read", {"name": "$response.body#/items/0/name"}),
    "events_publish": ("events_read", {"event_id": "$response.body#/items/0/id"}),
}
"""Which operation reads what an answer names, where tools cannot tell from the names of parameters."""


def complete(result: Any, generator: Any, request: Any, public: bool) -> Any:
    """drf-spectacular's postprocessing hook: adds headers, links, a problem as the default answer, required bodies."""
    problem = {"$ref": "#/components/schemas/Problem"}
    for path in result["paths"].values():
        for method, operation in path.items():
            if method == "put" or operation["operationId"] == "events_publish":
                operation["requestBody"]["required"] = True
            answers = operation["responses"]
            if operation["operationId"] in _LINKS:
                follower, parameters = _LINKS[operation["operationId"]]
                done = min(answers)
                answers[done]["links"] = {follower: {"operationId": follower, "parameters": parameters}}
            answers["default"] = {
                "description": "Any other problem.",
                "content": {CONTENT_TYPE: {"schema": problem}},
            }
            for code, answer in answers.items():
                answer.setdefault("headers", {}).update({**_HEADERS, **_MORE_HEADERS.get(code, {})})
    return result
