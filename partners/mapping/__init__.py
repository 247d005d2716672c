"""The `map` of a transformation: compiles a template once and applies it to events.

`compiler` compiles what was written, with `call` and `calls` for functions. `nodes` and `functions` run for each event,
and `output` limits what they make. docs/transformations.md is the reference of the language.
"""

from partners.mapping.compiler import TemplateCompiler
from partners.mapping.functions import NotPossible
from partners.mapping.output import Build

__all__ = ["Build", "NotPossible", "TemplateCompiler"]
