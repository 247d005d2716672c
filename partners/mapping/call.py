"""One call of a function in a template, such as `{"$join": ..., "$separator": ", "}`: its name and arguments."""

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, NoReturn, TypeAlias

from partners.errors import SpecError
from partners.exact_json import Value
from partners.json_pointer import pointer
from partners.mapping import nodes
from partners.mapping.functions import kind
from partners.mapping.output import Build, ListOf, ValueOf
from partners.paths import Path

if TYPE_CHECKING:
    from partners.mapping.compiler import TemplateCompiler

Items: TypeAlias = tuple[bool, ...]
"""For each surrounding `$each`: whether its items come straight from the event, so that no part is repeated in one."""


TAKES: dict[str, tuple[str, ...]] = {
    "$value": (),
    "$path": (),
    "$all": (),
    "$each": ("$to",),
    "$if": ("$then", "$else"),
    "$coalesce": (),
    "$merge": (),
    "$string": (),
    "$number": ("$decimals",),
    "$lower": (),
    "$upper": (),
    "$trim": (),
    "$substring": ("$start", "$length"),
    "$concat": (),
    "$join": ("$separator",),
    "$split": ("$separator",),
    "$count": (),
    "$first": (),
    "$last": (),
    "$sum": ("$decimals",),
    "$multiply": ("$decimals",),
    "$date": ("$format", "$zone"),
}
"""Every function, with the options that it takes besides `$default`."""

_OPTIONS = frozenset(option for options in TAKES.values() for option in options) | {"$default"}


@dataclass(frozen=True, slots=True)
class Call:
    """One call: what was written, its place, the `$each` around it, and whether the result goes into the output."""

    compiler: "TemplateCompiler"
    spec: dict[str, Value]
    at: str
    items: Items
    into_output: bool

    @property
    def name(self) -> str:
        """The function's name. Raises SpecError if there is none, more than one, or an option that it does not take."""
        found = [key for key in self.spec if key in TAKES]
        unknown = [key for key in self.spec if key not in TAKES and key not in _OPTIONS]
        if unknown:
            self._refuse_key(unknown[0])
        if len(found) != 1:
            what = (
                f"{' and '.join(found)} do not go together" if found else f"{next(iter(self.spec))} needs its function"
            )
            raise SpecError(f"{what} in one object", self.at)
        for key in self.spec:
            if key != found[0] and key not in (*TAKES[found[0]], "$default"):
                raise SpecError(f"{found[0]} takes no {key}", pointer(self.at, key))
        return found[0]

    def _refuse_key(self, key: str) -> NoReturn:
        at = pointer(self.at, key)
        if not key.startswith("$") or key.startswith("$$"):
            raise SpecError("a function and a plain key do not go together in one object", at)
        near = get_close_matches(key, [*TAKES, *_OPTIONS], n=1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(sorted(TAKES))}"
        raise SpecError(f"there is no function {key}; {hint} (the key {key} in the output is written ${key})", at)

    @property
    def argument_at(self) -> str:
        return f"{self.at}/{self.name}"

    @property
    def argument(self) -> Value:
        return self.spec[self.name]

    def leaf(self, value_of: ValueOf, checked: bool = False) -> Build:
        return self.compiler.leaf(value_of, self.into_output, checked)

    def value(self) -> ValueOf:
        """The argument, as a template."""
        return self.compiler.value(self.argument, self.argument_at, self.items)

    def values(self) -> list[ValueOf]:
        """The argument, as a list of templates."""
        return [self.compiler.value(part, f"{self.argument_at}/{n}", self.items) for n, part in enumerate(self.parts())]

    def parts(self) -> Sequence[Value]:
        if not isinstance(self.argument, list):
            raise SpecError(f"expected a list, not {kind(self.argument)}", self.argument_at)
        return self.argument

    def path(self) -> Path:
        return self.compiler.path(self.argument, self.argument_at, self.items)

    def list(self) -> ListOf:
        """The argument, as a list: all matches of a path, the list at a definite path, or what a template makes."""
        if isinstance(self.argument, str):
            return nodes.list_at(self.path(), self.argument_at)
        if not isinstance(self.argument, (list, dict)):
            raise SpecError(f"expected a path or a list, not {kind(self.argument)}", self.argument_at)
        return nodes.expect_list(self.value(), self.argument_at)

    def template(self, key: str, items: Items | None = None) -> Build:
        if key not in self.spec:
            raise SpecError(f"{self.name} needs {key}", self.at)
        inside = self.items if items is None else items
        return self.compiler.template(self.spec[key], f"{self.at}/{key}", inside, self.into_output)

    def text(self, key: str, default: str | None = None) -> str:
        """An option that is plain text."""
        given = self.spec.get(key, default)
        if given is None:
            raise SpecError(f"{self.name} needs {key}", self.at)
        if not isinstance(given, str):
            raise SpecError(f"expected text, not {kind(given)}", f"{self.at}/{key}")
        return given

    def whole_number(self, key: str, lowest: int, highest: int) -> int:
        """An option that is a whole number."""
        given = self.spec[key]
        if isinstance(given, bool) or not isinstance(given, int) or not lowest <= given <= highest:
            raise SpecError(f"expected a whole number from {lowest} to {highest}", f"{self.at}/{key}")
        return given


def is_straight(path: Path, items: Items) -> bool:
    """Whether the path finds parts of the event itself, in which no part is repeated."""
    return path.level == 0 or items[-path.level]
