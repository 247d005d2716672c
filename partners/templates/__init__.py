"""Templates: the `map` of a transformation. The compiler reads what was written, nodes and functions do it to an event.

docs/transformations.md is the reference of the language.
"""

from partners.templates.compiler import TemplateCompiler
from partners.templates.functions import NotPossible
from partners.templates.output import Build

__all__ = ["Build", "NotPossible", "TemplateCompiler"]
