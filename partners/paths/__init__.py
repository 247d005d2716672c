"""Paths into an event: JSONPath, parsed by jsonpath-ng's grammar and evaluated by us, exactly and within a budget.

Filters and transformations share this language. `tokens` and `grammar` compile a path; `path` evaluates it, with
`steps`, `conditions` and `comparisons`. docs/transformations.md is its reference.
"""

from partners.paths.grammar import compile_path
from partners.paths.path import Path
from partners.paths.steps import MISSING, Missing, Node, Scope

__all__ = ["MISSING", "Missing", "Node", "Path", "Scope", "compile_path"]
