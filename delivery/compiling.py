"""Compiles transformations when they are first applied, in a thread of their own.

A large one takes 0.2 s. While the endpoints of a batch are loaded, all its deliveries would wait for it, so the first
delivery that needs it waits alone. A partner with many has one compiled at a time, so that others' are soon at hand.
The thread pauses for as long as it worked, because it competes with the deliveries for the GIL.
"""

import logging
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from delivery.waits import Waiter, offload
from partners.envelope import Envelope
from partners.errors import InvalidInput, TransformError
from partners.transform import Transformation, compile_transformation

logger = logging.getLogger(__name__)

Compile = Callable[[str], Transformation]

MOST_CHARS = 1_000_000
"""The length of all texts of a partner whose compiled forms are kept, which take about 40 MB."""


class Compiler:
    """Compiles a text. Its callers, tasks of delivery.turns or threads, wait; those of a partner for each other."""

    def __init__(self, compile_: Compile = compile_transformation) -> None:
        self._compile = compile_
        self._thread = ThreadPoolExecutor(1, "compiler")
        self._waiting: dict[str, deque[Waiter]] = {}
        """By partner, while one of its texts is compiled."""
        self._kept: dict[str, deque[LateTransformation]] = {}
        self._chars: Counter[str] = Counter()
        """Of each partner, those that are kept compiled, and the length of their texts."""
        self._lock = threading.Lock()

    def __call__(self, partner_id: str, text: str) -> Transformation:
        waiter = None
        with self._lock:
            if partner_id in self._waiting:
                waiter = Waiter()
                self._waiting[partner_id].append(waiter)
            else:
                self._waiting[partner_id] = deque()
        if waiter is not None:
            waiter.wait()
        try:
            return offload(self._work, text, to=self._thread)
        finally:
            self._pass_on(partner_id)

    def _work(self, text: str) -> Transformation:
        began = time.monotonic()
        try:
            return self._compile(text)
        finally:
            self._thread.submit(time.sleep, time.monotonic() - began)

    def keep(self, one: "LateTransformation") -> None:
        """Lets it stay compiled, and the partner's oldest ones no longer, if there are too many."""
        with self._lock:
            kept = self._kept.setdefault(one.partner_id, deque())
            kept.append(one)
            self._chars[one.partner_id] += len(one.text)
            while self._chars[one.partner_id] > MOST_CHARS:
                oldest = kept.popleft()
                self._chars[one.partner_id] -= len(oldest.text)
                oldest.compiled = None

    def _pass_on(self, partner_id: str) -> None:
        with self._lock:
            if self._waiting[partner_id]:
                self._waiting[partner_id].popleft().wake()
            else:
                del self._waiting[partner_id]


_compiler = Compiler()


class LateTransformation:
    """A subscription's transformation that is compiled when it is first applied. Thread-safe."""

    def __init__(self, subscription_id: str, partner_id: str, text: str, compiler: Compiler = _compiler) -> None:
        self._subscription_id = subscription_id
        self.partner_id = partner_id
        self.text = text
        self._compiler = compiler
        self.compiled: Transformation | None = None

    def apply(self, envelope: Envelope, *, rest: Callable[[], None] | None = None) -> bytes:
        """As Transformation.apply does. Raises TransformError also if it does not compile any more."""
        compiled = self.compiled
        if compiled is None:
            compiled = self._compile()
        return compiled.apply(envelope, rest=rest)

    def _compile(self) -> Transformation:
        try:
            compiled = self._compiler(self.partner_id, self.text)
        except InvalidInput as error:
            extra = {"subscription_id": self._subscription_id, "error": str(error)}
            logger.error("unusable transformation", extra=extra)
            raise TransformError("unusable", f"the transformation cannot be used: {error}") from None
        if self.compiled is None:
            self.compiled = compiled
            self._compiler.keep(self)
        return compiled
