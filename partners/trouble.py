"""Logs a lasting problem once when it begins and once when it is over."""

import logging
import threading
import time


class Trouble:
    """A problem of an operation that is retried: logged when it begins and when it is over. Thread-safe."""

    def __init__(self, logger: logging.Logger, what: str) -> None:
        self._logger, self._what = logger, what
        self._since: float | None = None
        self._lock = threading.Lock()

    def met(self, error: BaseException) -> None:
        with self._lock:
            is_new = self._since is None
            if is_new:
                self._since = time.monotonic()
        if is_new:
            self._logger.warning(self._what, extra={"error": str(error).strip()[:300] or type(error).__name__})

    def over(self) -> None:
        with self._lock:
            since, self._since = self._since, None
        if since is not None:
            seconds = round(time.monotonic() - since, 1)
            self._logger.info("going on", extra={"after": self._what, "seconds": seconds})
