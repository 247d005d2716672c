"""API keys of the caller's partner: creating, listing and revoking them."""

from http import HTTPStatus
from typing import Any

from django.db import transaction
from django.db.models import QuerySet
from django.shortcuts import get_object_or_404
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from partners import keys
from partners.api.base import ApiView
from partners.api.fields import Moment, StrictSerializer, Text, Word
from partners.api.pages import PageQuery, page
from partners.api.profile import locked as locked_partner
from partners.api.refusals import Refused
from partners.api.schema import describe, page_of
from partners.api.scopes import PARTNER, READ_ONLY
from partners.models import ApiKey

TAG = "API keys"
_EXAMPLE = {
    "id": "key_0192f1c7a5b07d3e8a4e5f60718293a4",
    "name": "production server",
    "scope": "partner",
    "hint": "rk_8Zk2Qp",
    "created_at": "2026-05-01T12:00:00.000000Z",
    "created_by": "staff",
    "expires_at": None,
    "last_used_at": "2026-05-02T08:30:00.000000Z",
}


class KeyShape(serializers.Serializer[Any]):
    """A key without its token."""

    id = serializers.CharField()
    name = serializers.CharField()
    scope = serializers.ChoiceField([PARTNER, READ_ONLY])
    hint = serializers.CharField(help_text="The first characters of the key.")
    created_at = Moment()
    created_by = serializers.SerializerMethodField(
        help_text="`staff`, `system`, or the name of the key that created it."
    )
    expires_at = Moment(allow_null=True)
    last_used_at = Moment(allow_null=True, help_text="Updated at most once a minute.")

    def get_created_by(self, key: ApiKey) -> str:
        """Hides the names of staff."""
        return "staff" if key.created_by.startswith("staff") else key.created_by.removeprefix("key ")


class NewKeyShape(KeyShape):
    token = serializers.CharField(help_text="The key itself. No other answer contains it.")


class KeyInput(StrictSerializer):
    name = Text(max_length=100, help_text="What it is for.")
    scope = Word([PARTNER, READ_ONLY], default=PARTNER)
    expires_at = Moment(allow_null=True, default=None, help_text="In the future; null: never.")


class Keys(ApiView):
    @describe(
        "List API keys",
        tag=TAG,
        name="keys_list",
        answer=page_of(KeyShape, "KeyPage"),
        parameters=[PageQuery],
        example={"items": [_EXAMPLE], "next_cursor": None},
        description="Revoked keys are not listed.",
    )
    def get(self, request: Request) -> Response:
        query = PageQuery.read(request)
        return page(own_keys(self), query, lambda rows: KeyShape(rows, many=True).data)

    @describe(
        "Create an API key",
        tag=TAG,
        name="keys_create",
        request=KeyInput,
        answer=NewKeyShape,
        status=201,
        problems=[409],
        request_example={"name": "production server", "scope": "partner", "expires_at": "2027-05-01T00:00:00Z"},
        example={**_EXAMPLE, "expires_at": "2027-05-01T00:00:00.000000Z", "token": "rk_8Zk2Qp…"},
        description="To rotate: create a new key, use it, then revoke the old one.",
    )
    def post(self, request: Request) -> Response:
        wanted = KeyInput.read(request)
        with transaction.atomic():
            locked_partner(self.partner)
            if keys.live_keys(self.partner) >= keys.MAX_LIVE_KEYS:
                raise Refused(HTTPStatus.CONFLICT, "too_many", f"at most {keys.MAX_LIVE_KEYS} live keys: revoke one")
            new = keys.create_key(**wanted, partner=self.partner)
        body = {**KeyShape(new.key).data, "token": new.token}
        return Response(body, HTTPStatus.CREATED, headers={"Location": f"{request.path}/{new.key.pk}"})


class Key(ApiView):
    @describe("Read an API key", tag=TAG, name="keys_read", answer=KeyShape, problems=[404], example=_EXAMPLE)
    def get(self, request: Request, key_id: str) -> Response:
        return Response(KeyShape(own_key(self, key_id)).data)

    @describe(
        "Revoke an API key",
        tag=TAG,
        name="keys_revoke",
        status=204,
        problems=[404, 409],
        description="The key stops working at once and for good. A key can't revoke itself.",
    )
    def delete(self, request: Request, key_id: str) -> Response:
        key = own_key(self, key_id)
        if key.pk == self.caller.key.pk:
            raise Refused(HTTPStatus.CONFLICT, "key_in_use", "a key can't revoke itself: use another one")
        keys.revoke_key(key)
        return Response(status=HTTPStatus.NO_CONTENT)


def own_keys(view: ApiView) -> "QuerySet[ApiKey]":
    return ApiKey.objects.filter(partner=view.partner, revoked_at=None)


def own_key(view: ApiView, key_id: str) -> ApiKey:
    return get_object_or_404(own_keys(view), pk=key_id)
