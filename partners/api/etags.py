"""Entity tags, with which clients avoid lost updates.

`If-Match` is optional. If it does not name the current state, the answer is 412 and nothing changes. The tag is a hash
of the answer's body, so it changes whenever the body does.
"""

import hashlib
import re
from http import HTTPStatus
from typing import Any

import orjson
from rest_framework.request import Request
from rest_framework.response import Response

from partners.api.refusals import Invalid, Refused

_TAG = re.compile(r'\*|(?:W/)?"[\x21\x23-\x7e\x80-\xff]*"')
_LIST = re.compile(rf"[ \t,]*(?:{_TAG.pattern})(?:[ \t]*,[ \t,]*(?:{_TAG.pattern}))*[ \t,]*")
"""As RFC 9110 has it: a tag, which is somebody else's then, may have commas."""


def tag_of(body: Any) -> str:
    return f'"{hashlib.sha256(orjson.dumps(body, default=str)).hexdigest()[:32]}"'


def tagged(body: Any, status: int = 200) -> Response:
    """An answer with its entity tag."""
    return Response(body, status, headers={"ETag": tag_of(body)})


def tagged_or_unchanged(request: Request, body: Any) -> Response:
    """An answer with its entity tag, or 304 if `If-None-Match` names this state."""
    tag = tag_of(body)
    known = _tags(request.META.get("HTTP_IF_NONE_MATCH", ""))
    if "*" in known or tag in {one.removeprefix("W/") for one in known}:
        return Response(status=HTTPStatus.NOT_MODIFIED, headers={"ETag": tag})
    return tagged(body)


def check_match(request: Request, current: Any) -> None:
    """Raises Refused (412) if `If-Match` names another state than the current one, and Invalid if it names none.

    `current` is None if there is no such resource yet: not even `*` matches then.
    """
    wanted = request.META.get("HTTP_IF_MATCH")
    if wanted is None:
        return
    tags = _tags(wanted)
    if not tags:
        raise Invalid([{"header": "If-Match", "detail": 'expected the ETag of an answer, in quotes: "1f3b…", or *'}])
    if current is None or ("*" not in tags and tag_of(current) not in tags):
        raise Refused(HTTPStatus.PRECONDITION_FAILED, "changed_meanwhile", "it was changed meanwhile: read it again")


def _tags(header: str) -> list[str]:
    """The tags in a header; none if it is not a list of them."""
    return _TAG.findall(header) if _LIST.fullmatch(header) else []
