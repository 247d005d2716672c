"""Splits a path into tokens with their places, for jsonpath-ng's grammar.

This is our own lexer because the library's makes floats of numbers, allows only ASCII names, and gives its errors no
places that people could use. It also refuses, before any parsing, what the language leaves out: regular expressions,
arithmetic, sorting, parents, named operators.
"""

import re
from dataclasses import dataclass
from typing import NoReturn

from partners.errors import SpecError
from partners.exact_json import Number

MAX_PATH_CHARS = 300
MAX_FILTERS_NESTED = 2


@dataclass(slots=True)
class Token:
    """Has the attributes that jsonpath-ng's parser reads from its own lexer's tokens."""

    type: str
    value: str | int | Number | bool | None
    lexpos: int
    end: int
    quoted: bool = False
    lineno: int = 1
    lexer: object = None

    @property
    def col(self) -> int:
        return self.lexpos


_WORDS = re.compile(
    r"""
      (?P<space>[ \t\r\n]+)
    | (?P<name>[^\W\d][\w-]*)
    | (?P<number>-?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)
    | (?P<string>'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")
    | (?P<and>&&?)
    | (?P<or>\|\|?)
    | (?P<compare>==|!=|<=|>=|<|>|=(?!~))
    | (?P<mark>\.\.|[$@.\[\]()?*,:!])
    """,
    re.VERBOSE | re.DOTALL,
)
_LITERALS: dict[str, tuple[str, bool | None]] = {
    "true": ("BOOL", True),
    "false": ("BOOL", False),
    "null": ("NULL", None),
}
_NAMES = {"..": "DOUBLEDOT"}

# Which tokens may stand before a token; "" is the beginning of the path.
_QUERY_ENDS = frozenset(["$", "@", "ID", "]", "*"])
_OPERAND_ENDS = _QUERY_ENDS | {"NUMBER", "FLOAT", "BOOL", "NULL", ")"}
_CONDITION_STARTS = frozenset(["?", "(", "AND", "OR", "!"])
_BEFORE = {
    "$": _CONDITION_STARTS | {"", "FILTER_OP"},
    "@": _CONDITION_STARTS | {"", "FILTER_OP"},
    ".": _QUERY_ENDS,
    "DOUBLEDOT": _QUERY_ENDS,
    "[": _QUERY_ENDS | {"DOUBLEDOT"},
    "]": _OPERAND_ENDS | {":"},
    "?": frozenset(["["]),
    "(": _CONDITION_STARTS,
    ")": _OPERAND_ENDS,
    "*": frozenset([".", "DOUBLEDOT", "["]),
    ",": frozenset(["ID", "NUMBER"]),
    ":": frozenset(["[", ":", "NUMBER"]),
    "!": _CONDITION_STARTS,
    "FILTER_OP": _QUERY_ENDS,
    "AND": _OPERAND_ENDS,
    "OR": _OPERAND_ENDS,
}
_CONDITIONS_HINT = "conditions stand in brackets, as in $.data[?(@.total_price > 100)]"
_IN_CONDITIONS = frozenset(["(", ")", "!", "FILTER_OP", "AND", "OR"])
_IN_BRACKETS = frozenset([",", ":"])


def tokenize(text: str, start: int = 0) -> list[Token]:
    """Raises SpecError without the place in the specification, which the caller knows."""
    if len(text) > MAX_PATH_CHARS:
        raise SpecError(f"a path has at most {MAX_PATH_CHARS} characters, not {len(text)}")
    return _Lexer(text).run(start)


class _Lexer:
    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens: list[Token] = []
        self.open: list[Token] = []  # brackets, parentheses and, in place of its bracket, the "?" of a filter

    @property
    def last(self) -> str:
        return self.tokens[-1].type if self.tokens else ""

    @property
    def inside(self) -> str:
        return self.open[-1].type if self.open else ""

    def run(self, at: int) -> list[Token]:
        while at < len(self.text):
            word = _WORDS.match(self.text, at)
            if word is None:
                self.fail_at_character(at)
            getattr(self, f"_{word.lastgroup}")(word[0], at)
            at = word.end()
        if self.open:
            self.fail("this is not closed", self.open[-1].lexpos)
        if self.last in (".", "DOUBLEDOT", ""):
            raise SpecError(f"the path {self.text!r} ends too early" if self.text else "a path can't be empty")
        return self.tokens

    def fail(self, what: str, at: int) -> NoReturn:
        raise SpecError(f"{what}, at character {at + 1} of {self.text!r}")

    def fail_at_character(self, at: int) -> NoReturn:
        character = self.text[at]
        if character in "'\"":
            self.fail("a string that does not end", at)
        if self.text.startswith("=~", at):
            self.fail("regular expressions are not available", at)
        if character == "`":
            self.fail("named operators are not available", at)
        if character in "+-/%~^":
            self.fail(f"{character!r} is not available here: no arithmetic, no sorting; names with it go in quotes", at)
        self.fail(f"{character!r} is not part of the language; a name with it is written ['like this']", at)

    def add(self, type_: str, value: str | int | Number | bool | None, at: int, end: int, quoted: bool = False) -> None:
        self.tokens.append(Token(type_, value, at, end, quoted))

    def _space(self, word: str, at: int) -> None:
        if not self.open:
            following = self.text[at + len(word) : at + len(word) + 1]
            self.fail(_CONDITIONS_HINT if following in "<>=!&|" else "a space; a name with it is ['like this']", at)

    def _name(self, word: str, at: int) -> None:
        if self.last in (".", "DOUBLEDOT"):
            self.add("ID", word, at, at + len(word))
        elif self.last == "FILTER_OP" and word in _LITERALS:
            type_, value = _LITERALS[word]
            self.add(type_, value, at, at + len(word))
        else:
            self.fail(self._hint(word), at)

    def _hint(self, word: str) -> str:
        if not self.last:
            return "a path starts with `$` (the event) or `@` (the item of an `$each`)"
        if self.last == "FILTER_OP":
            return f"text to compare with is quoted: '{word}'"
        if self.last in _CONDITION_STARTS:
            return f"a condition starts with a path: @.{word}"
        if self.last in ("[", ","):
            return f"a name in brackets is quoted: ['{word}']"
        if self.last in ("$", "@", "]"):
            return f"a dot is missing before {word!r}"
        return f"unexpected {word!r}"

    def _number(self, word: str, at: int) -> None:
        if self.last == ".":
            self.fail(f"an element is written [{word}], a key of digits ['{word}']", at)
        if self.last not in ("[", ",", ":", "FILTER_OP"):
            self.fail(f"unexpected {word!r}; in a condition the path stands on the left", at)
        whole = word.lstrip("-").isdigit()
        if not whole and self.last != "FILTER_OP":
            self.fail(f"{word} is not a whole number", at)
        self.add("NUMBER" if whole else "FLOAT", int(word) if whole else Number(word), at, at + len(word))

    def _string(self, word: str, at: int) -> None:
        if self.last == ".":
            self.fail("no dot before brackets, and a quoted name stands in brackets: ['like this']", at)
        if self.last not in ("[", ",", "FILTER_OP"):
            self.fail("unexpected text in quotes; in a condition the path stands on the left", at)
        self.add("ID", self._unescaped(word[1:-1], at + 1), at, at + len(word), quoted=True)

    def _unescaped(self, body: str, at: int) -> str:
        def plain(escape: re.Match[str]) -> str:
            if escape[1] not in "\\'\"":
                self.fail("a backslash stands only before a quote or another backslash", at + escape.start())
            return escape[1]

        return re.sub(r"\\(.)", plain, body, flags=re.DOTALL)

    def _and(self, word: str, at: int) -> None:
        self._mark("AND", at, word)

    def _or(self, word: str, at: int) -> None:
        self._mark("OR", at, word)

    def _compare(self, word: str, at: int) -> None:
        self._mark("FILTER_OP", at, word)

    def _mark(self, type_: str, at: int, word: str = "") -> None:
        word = word or type_
        type_ = _NAMES.get(type_, type_)
        if not self.tokens and type_ not in "$@":
            self.fail(self._hint(word), at)
        if self.last not in _BEFORE[type_] or not self._belongs(type_):
            self.fail(self._mark_hint(type_, word), at)
        self.add(type_, word, at, at + len(word))
        if type_ in "[(":
            self.open.append(self.tokens[-1])
        elif type_ in "])":
            self.open.pop()
        elif type_ == "?":
            self._enter_filter()

    def _belongs(self, type_: str) -> bool:
        if type_ in _IN_CONDITIONS:
            return self.inside in ("(" if type_ == ")" else "?(") and self.inside != ""
        if type_ in _IN_BRACKETS:
            return self.inside == "["
        return type_ != "]" or self.inside in ("[", "?")

    def _mark_hint(self, type_: str, word: str) -> str:
        if type_ == "[" and self.last == ".":
            return "no dot before brackets"
        if type_ == "(":
            return "conditions stand in [?(...)]; functions are not available"
        if type_ in ("FILTER_OP", "AND", "OR") and not self.open:
            return _CONDITIONS_HINT
        return f"unexpected {word!r}"

    def _enter_filter(self) -> None:
        self.open[-1] = self.tokens[-1]
        if sum(token.type == "?" for token in self.open) > MAX_FILTERS_NESTED:
            self.fail(f"more than {MAX_FILTERS_NESTED} filters inside each other", self.tokens[-1].lexpos)
