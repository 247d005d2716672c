"""Compiles transformations when they are first applied, in a thread of their own.

A large one takes 0.2 s. While the endpoints of a batch are loaded, all its deliveries would wait for it, so the first
delivery that needs it waits alone. A partner with many has one compiled at a time, so that others' are soon at hand.
The thread pauses for as long as it worked, because it competes with the deliveries for the GIL.
"""

import logging
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

from delivery.waits import Waiter, offload
from partners.compiled import MAX_CHARS, CompiledCache
from partners.envelope import Envelope
from partners.errors import InvalidInput, TransformError
from partners.transform import Transformation, compile_transformation

logger = logging.getLogger(__name__)

Compile = Callable[[str], Transformation]


class Compiler:
    """Compiles a text, and keeps each partner's, up to `max_chars` of text, apart from those of others. Its callers,
    tasks of delivery.turns or threads, wait; those of a partner for each other."""

    def __init__(self, compile_: Compile = compile_transformation, max_chars: int = MAX_CHARS) -> None:
        self._thread = ThreadPoolExecutor(1, "compiler")
        self._kept = defaultdict[str, CompiledCache[Transformation]](partial(CompiledCache, compile_, max_chars))
        """By partner."""
        self._waiting: dict[str, deque[Waiter]] = {}
        """By partner, while one of its texts is compiled."""
        self._lock = threading.Lock()

    def __call__(self, partner_id: str, text: str) -> Transformation:
        with self._lock:
            kept = self._kept[partner_id]
        return kept.known(text) or self._compiled(partner_id, text, kept)

    def _compiled(self, partner_id: str, text: str, kept: CompiledCache[Transformation]) -> Transformation:
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
            return offload(self._work, kept, text, to=self._thread)
        finally:
            self._pass_on(partner_id)

    def _work(self, kept: CompiledCache[Transformation], text: str) -> Transformation:
        began = time.monotonic()
        try:
            return kept.get(text)
        finally:
            self._thread.submit(time.sleep, time.monotonic() - began)

    def _pass_on(self, partner_id: str) -> None:
        with self._lock:
            if self._waiting[partner_id]:
                self._waiting[partner_id].popleft().wake()
            else:
                del self._waiting[partner_id]


_compiler = Compiler()


@dataclass(frozen=True, slots=True)
class LateTransformation:
    """A subscription's transformation that is compiled when it is applied."""

    subscription_id: str
    partner_id: str
    text: str
    compiler: Compiler = _compiler

    def apply(self, envelope: Envelope, *, rest: Callable[[], None] | None = None) -> bytes:
        """As Transformation.apply does. Raises TransformError also if it does not compile any more."""
        try:
            compiled = self.compiler(self.partner_id, self.text)
        except InvalidInput as error:
            extra = {"subscription_id": self.subscription_id, "error": str(error)}
            logger.error("unusable transformation", extra=extra)
            raise TransformError("unusable", f"the transformation cannot be used: {error}") from None
        return compiled.apply(envelope, rest=rest)
