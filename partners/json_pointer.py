"""JSON pointers (RFC 6901), which name a place in a document: `/map/items/0`."""


def pointer(at: str, *keys: str) -> str:
    """Extends a JSON pointer by keys."""
    return at + "".join(f"/{key.replace('~', '~0').replace('/', '~1')}" for key in keys)
