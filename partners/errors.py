"""The exceptions of this package, in one tree.

    InvalidInput                what someone saved or sent can't be used (a ValueError; the API answers 400 with it)
    ├── IdentifierError         not an event id that can be sent as a header
    ├── PatternError            not an event type or an event type pattern
    ├── EndpointRefused         not a URL that an endpoint may have, with the reason
    ├── SecretError             not a signing secret (the message does not quote it)
    ├── JSONError               not the JSON we accept: too large, too deep, bad UTF-8, NaN ... with a position
    └── PlacedError             wrong at a place of a document
        ├── SpecError           a filter or a transformation that can't be compiled
        ├── SchemaError         an event schema that can't be compiled
        └── CatalogueError      an event type file that can't be read
    DataInvalid                 an event's data breaks its event type's schema
    TransformError              an event that a transformation or a filter can't process (the delivery is dead at once)
    SecretUnreadable            no configured key decrypts a stored secret: an operator's mistake

`InvalidInput` is about what people wrote and can correct; `DataInvalid` and `TransformError` are about one event.
"""


class InvalidInput(ValueError):  # noqa: N818 - it names what is wrong, as its children do
    """Something that a person or a producer gave us can't be used. `str()` is a message for them."""


class IdentifierError(InvalidInput):
    pass


class PatternError(InvalidInput):
    pass


class EndpointRefused(InvalidInput):
    pass


class SecretError(InvalidInput):
    pass


class JSONError(InvalidInput):
    """`position` is where the error was found, if known: in characters, or in bytes if they are not UTF-8."""

    def __init__(self, message: str, position: int | None = None) -> None:
        super().__init__(message)
        self.position = position


class PlacedError(InvalidInput):
    """A place of a document is wrong: `path` is a JSON pointer (`/map/items/0`; empty for the whole document)."""

    def __init__(self, message: str, path: str = "") -> None:
        super().__init__(f"{path}: {message}" if path else message)
        self.message = message
        self.path = path


class SpecError(PlacedError):
    pass


class SchemaError(PlacedError):
    pass


class CatalogueError(PlacedError):
    pass


class DataInvalid(Exception):  # noqa: N818 - as above
    """`path` is a JSON pointer into the data."""

    def __init__(self, message: str, path: str) -> None:
        super().__init__(f"{path or 'the data'}: {message}")
        self.message = message
        self.path = path


class TransformError(Exception):
    """`reason` is one of a fixed set of words (docs/transformations.md); `path` is the place in the specification."""

    def __init__(self, reason: str, message: str, path: str = "") -> None:
        super().__init__(f"{reason} at {path}: {message}" if path else f"{reason}: {message}")
        self.reason = reason
        self.message = message
        self.path = path


class SecretUnreadable(Exception):  # noqa: N818 - as above
    """A stored secret that no configured key decrypts."""
