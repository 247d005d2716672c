"""The `map` of a transformation: a template, compiled once, and what it does to an event.

In the order of the work: the compiler reads what was written (with call and calls for the functions), nodes
and functions run, output keeps what they make within bounds. docs/transformations.md is the reference of the language.
"""

from partners.mapping.compiler import TemplateCompiler
from partners.mapping.functions import NotPossible
from partners.mapping.output import Build

__all__ = ["Build", "NotPossible", "TemplateCompiler"]
