"""`/.well-known/webhook-keys.json`: the public keys for the `v1a` signatures of our webhooks."""

from django.http import HttpRequest, JsonResponse
from django.views.decorators.http import require_safe

from delivery.own_keys import public_keys


@require_safe
def webhook_keys(_request: HttpRequest) -> JsonResponse:
    """Answers `{"keys": ["whpk_…"]}`; the list is empty if SIGNING_KEYS is."""
    return JsonResponse({"keys": public_keys()}, headers={"Cache-Control": "public, max-age=3600"})
