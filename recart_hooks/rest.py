"""The settings of REST framework and drf-spectacular, for settings.py."""

from typing import Any

_DESCRIPTION = """\
Recart Hooks sends a platform's events to its partners as signed webhooks. With this API partners manage their
subscriptions, see what was sent, and have it sent again. The platform's services publish events with it.

**Keys.** `Authorization: Bearer rk_…`. A `partner` key manages its partner, a `read_only` key sees the same without
changing it, a `producer` key publishes events, a `catalogue` key maintains the event types.

**Guides.** [From a key to the first verified webhook](/api/docs/partner-guide.md);
[filters and transformations](/api/docs/transformations.md), which select events and put them into your format.
*Subscribe* has a summary of both, at its fields `filter` and `transformation`.

**Errors** are RFC 9457 problem details, with a `code` for programs and pointers to what is wrong.
**Lists** come in pages: pass `next_cursor` as `cursor`. **Limits** are in the `RateLimit` headers of every answer.
**Lost updates**: send the `ETag` that you read as `If-Match`; a change in between answers 412.
"""


def rest_framework_settings() -> dict[str, Any]:
    return {
        "DEFAULT_AUTHENTICATION_CLASSES": ["partners.api.authentication.Bearer"],
        "DEFAULT_PERMISSION_CLASSES": ["partners.api.scopes.HasScope"],
        "DEFAULT_THROTTLE_CLASSES": ["delivery.api.throttling.KeyRate"],
        "DEFAULT_PARSER_CLASSES": ["partners.api.bodies.StrictJSONParser"],
        "DEFAULT_RENDERER_CLASSES": [
            "partners.api.bodies.OrjsonRenderer",
            "rest_framework.renderers.BrowsableAPIRenderer",
        ],
        "DEFAULT_CONTENT_NEGOTIATION_CLASS": "partners.api.bodies.PageOrJSON",
        "DEFAULT_SCHEMA_CLASS": "partners.api.schema.Schema",
        "EXCEPTION_HANDLER": "partners.api.problems.handle",
        "UNAUTHENTICATED_USER": None,
        "URL_FORMAT_OVERRIDE": None,
    }


def spectacular_settings(version: str, server: str) -> dict[str, Any]:
    return {
        "TITLE": "Recart Hooks",
        "DESCRIPTION": _DESCRIPTION,
        "VERSION": version,
        "OAS_VERSION": "3.1.1",
        "LICENSE": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        "SERVERS": [{"url": server}],
        "SCHEMA_PATH_PREFIX": "/api/v1",
        "ENUM_GENERATE_CHOICE_DESCRIPTION": False,
        "ENUM_NAME_OVERRIDES": {"DeliveryStatusEnum": "delivery.models.Delivery.Status"},
        "POSTPROCESSING_HOOKS": [
            "drf_spectacular.hooks.postprocess_schema_enums",
            "partners.api.schema.complete",
        ],
        "SERVE_INCLUDE_SCHEMA": False,
        "SERVE_AUTHENTICATION": [],
        "SERVE_PERMISSIONS": ["rest_framework.permissions.AllowAny"],
        "SWAGGER_UI_DIST": "SIDECAR",
        "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
        "SWAGGER_UI_SETTINGS": {"persistAuthorization": False, "tryItOutEnabled": True, "docExpansion": "none"},
    }
