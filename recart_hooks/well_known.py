"""`/.well-known/webhook-keys.json`: the public keys that verify the `v1a` signatures of all our webhooks."""

from django.http import HttpRequest, JsonResponse
from django.views.decorators.http import require_safe

from delivery.own_keys import public_keys


@require_safe
def webhook_keys(_request: HttpRequest) -> JsonResponse:
    """`{"keys": ["whpk_…"]}`; an empty list where nothing is signed that way."""
    return JsonResponse({"keys": public_keys()}, headers={"Cache-Control": "public, max-age=3600"})
