"""Paths into an event: JSONPath, read by jsonpath-ng's grammar and walked by us, exactly and within a budget.

Owns the language that filters and transformations share. In the order of the work: tokens, grammar, path (with steps,
conditions and comparisons). docs/transformations.md is its reference.
"""

from partners.paths.grammar import compile_path
from partners.paths.path import Path
from partners.paths.steps import MISSING, Missing, Node, Scope

__all__ = ["MISSING", "Missing", "Node", "Path", "Scope", "compile_path"]
