"""The exceptions of this package, in one tree.

    InvalidInput                what someone saved or sent can't be used (a ValueError; the API answers 400 with it)
    ├── IdentifierError         not an identifier of ours
    ├── PatternError            not an event type or an event type pattern
    ├── JSONError               not the JSON we accept: too large, too deep, bad UTF-8, NaN ... with a position
    ├── SpecError               a filter, a transformation or a template that can't be compiled, with the place
    ├── SchemaError             an event schema that can't be compiled, with the place
    └── CatalogueError          an event type file that can't be read, with the place
    DataInvalid                 an event's data breaks its event type's schema
    TransformError              an event that a transformation or a filter can't digest (the delivery is dead at once)
    SecretUnreadable            no configured key opens a stored secret: an operator's mistake, nobody else's

`InvalidInput` is about what people wrote and can correct; the other two are about one event.
"""


class InvalidInput(ValueError):  # noqa: N818 - it names what is wrong, as its children do
    """Something that a person or a producer gave us can't be used; `str()` is fit to be shown to them."""


class IdentifierError(InvalidInput):
    pass


class PatternError(InvalidInput):
    pass


class SecretUnreadable(Exception):  # noqa: N818 - as above
    """A stored secret that no configured key decrypts."""
