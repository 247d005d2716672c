"""Transformations, which replace the default body: `{"omit": [path], "rename": {path: name}, "map": template}`.

The three parts are optional and apply in that order. `$` is the envelope. The same specification and event always give
the same bytes, and the event is never changed. The only errors are `SpecError` on compiling, and on applying
`TransformError`, whose `reason` is one of

    too_much_work       more steps than Budget allows        not_a_list        a function got something else
    output_too_large    more bytes than Budget allows        not_an_object     a function got something else
    nothing_to_send     the map found nothing                not_a_number      text that spells none
    not_json            the event's data can't be read       not_a_date        text that spells none
                                                             number_too_large  for exact arithmetic

docs/transformations.md is the reference of the language.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from partners.budget import MAX_OUTPUT_BYTES, TRANSFORMATION, Budget
from partners.compiled import CompiledCache
from partners.edits import omit, rename
from partners.envelope import Envelope
from partners.errors import JSONError, SpecError, TransformError
from partners.exact_json import Limits, Value, dumps, loads_unique
from partners.json_pointer import pointer
from partners.mapping import Build, NotPossible, TemplateCompiler
from partners.paths import MISSING, Path, Scope
from partners.paths.steps import Filter, Names

SPEC_LIMITS = Limits(max_bytes=32_768, max_depth=24)
MAX_NAME_CHARS = 200
PARTS = ("omit", "rename", "map")


@dataclass(frozen=True, slots=True)
class Transformation:
    """A compiled transformation. Thread-safe."""

    omit: Sequence[Path]
    rename: Sequence[tuple[Path, str]]
    build: Build | None

    def apply(
        self, envelope: Envelope, max_output_bytes: int = MAX_OUTPUT_BYTES, rest: Callable[[], None] | None = None
    ) -> bytes:
        """Returns the body to send. `rest` is passed to Budget. Raises TransformError."""
        if not (self.omit or self.rename or self.build):
            return envelope.body
        budget = Budget(TRANSFORMATION.steps(envelope.data), max_output_bytes, rest)
        try:
            body = self._body(envelope, budget)
        except NotPossible as problem:
            raise TransformError(problem.reason, str(problem), problem.place) from None
        except JSONError as error:
            raise TransformError("not_json", str(error)) from None
        if len(body) > max_output_bytes:
            raise budget.too_large()
        return body

    def _body(self, envelope: Envelope, budget: Budget) -> bytes:
        tree: Value = envelope.tree
        if self.omit:
            tree = omit(self.omit, Scope(tree, budget))
        if self.rename:
            tree = rename(self.rename, Scope(tree, budget))
        if self.build is None:
            return dumps(tree)
        body = self.build(Scope(tree, budget))
        if body is MISSING:
            raise TransformError("nothing_to_send", "the map finds nothing in this event", "/map")
        return dumps(body)  # type: ignore[arg-type]  # it may contain fragments, which dumps writes unchanged


def compile_transformation(text: str) -> Transformation:
    """Compiles it; cached by its text. Raises SpecError, whose `path` is a JSON pointer into the specification."""
    return _COMPILED.get(text)


def body_for(transformation: str, envelope: Envelope) -> bytes:
    """The body to send for a subscription's transformation; the default body if it has none (empty text)."""
    return compile_transformation(transformation).apply(envelope) if transformation else envelope.body


def _compile(text: str) -> Transformation:
    spec = _read(text)
    for key in spec:
        if key not in PARTS:
            raise SpecError(f"unknown; a transformation has {', '.join(PARTS)}", f"/{key[:60]}")
    compiler = TemplateCompiler()
    return Transformation(
        tuple(_omissions(spec.get("omit", []), compiler)),
        tuple(_renamings(spec.get("rename", {}), compiler)),
        compiler.output(spec["map"], "/map") if "map" in spec else None,
    )


def _read(text: str) -> dict[str, Value]:
    try:
        spec = loads_unique(text.encode(errors="surrogatepass"), SPEC_LIMITS)
    except JSONError as error:
        raise SpecError(str(error)) from None
    if not isinstance(spec, dict):
        raise SpecError('expected an object such as {"omit": [...], "rename": {...}, "map": ...}')
    return spec


def _omissions(paths: Value, compiler: TemplateCompiler) -> list[Path]:
    if not isinstance(paths, list):
        raise SpecError('expected a list of paths, such as ["$.data.customer.email"]', "/omit")
    return [_inside(compiler.path(path, f"/omit/{n}"), f"/omit/{n}") for n, path in enumerate(paths)]


def _renamings(names: Value, compiler: TemplateCompiler) -> list[tuple[Path, str]]:
    if not isinstance(names, dict):
        raise SpecError('expected an object of paths and names, such as {"$.data.id": "order_id"}', "/rename")
    return [_renaming(path, name, compiler) for path, name in names.items()]


def _renaming(text: str, name: Value, compiler: TemplateCompiler) -> tuple[Path, str]:
    at = pointer("/rename", text)[:128]
    path = compiler.path(text, at)
    match path.steps[-1:]:
        case (Names(names=(_,)),):
            pass
        case _:
            raise SpecError("a path to rename ends in one name: $.data.id, $.data.line_items[*].sku, $..id", at)
    if not isinstance(name, str) or not 1 <= len(name) <= MAX_NAME_CHARS:
        raise SpecError(f"the new name is text of 1 to {MAX_NAME_CHARS} characters", at)
    if name.startswith(("$.", "$[")):
        raise SpecError("the new name is a name and not a path; the key stays where it is", at)
    return path, name


def _inside(path: Path, at: str) -> Path:
    """Refuses a path to the whole event, without which there would be nothing to send."""
    if all(isinstance(step, Filter) and not step.of_children for step in path.steps):
        raise SpecError("this is the whole event; omit parts of it, or use a filter to not get it at all", at)
    return path


_COMPILED = CompiledCache(_compile)
