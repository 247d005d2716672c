"""A bounded cache of compiled specifications, keyed by their text.

Workers need the same few thousand texts again and again, and compiling costs a hundred times as much as applying.
The limit is on the length of all texts together, because the compiled form grows with the length of its text.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")

MAX_CHARS = 1_000_000
"""About 40 MB of compiled specifications, some ten thousand of them."""


class CompiledCache(Generic[T]):
    """`get(text)` is `compile_(text)`, cached. Exceptions are not cached. Thread-safe."""

    def __init__(self, compile_: Callable[[str], T], max_chars: int = MAX_CHARS) -> None:
        self._compile = compile_
        self._max_chars = max_chars
        self._chars = 0
        self._known: OrderedDict[str, T] = OrderedDict()
        self._lock = threading.Lock()

    def known(self, text: str) -> T | None:
        with self._lock:
            if text in self._known:
                self._known.move_to_end(text)
            return self._known.get(text)

    def get(self, text: str) -> T:
        compiled = self.known(text)
        if compiled is not None:
            return compiled
        compiled = self._compile(text)
        with self._lock:
            if text not in self._known:
                self._chars += len(text)
            self._known[text] = compiled
            while self._chars > self._max_chars:
                self._chars -= len(self._known.popitem(last=False)[0])
        return compiled

    def __len__(self) -> int:
        return len(self._known)
