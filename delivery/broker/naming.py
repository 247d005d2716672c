"""The names of fair queues and of their keys. The scripts build the same names (lua/common.lua)."""

from dataclasses import dataclass

PREFIX = "partner."
FREE = "free:"
"""Begins the id of a message that takes no token of its queue's rate limit (`is_free` in lua/common.lua)."""


@dataclass(frozen=True, slots=True)
class Naming:
    """`prefix` begins the name of every fair queue, `global_prefix` every key of the application."""

    prefix: str = PREFIX
    global_prefix: str = ""

    @property
    def every(self) -> str:
        """The queue that stands for all fair queues: a worker consumes it to consume them all."""
        return self.prefix + "*"

    def is_fair(self, queue: str) -> bool:
        return queue.startswith(self.prefix) and queue != self.every

    def key(self, kind: str, queue: str | None = None) -> str:
        """The key of this kind for a queue (or a worker), or the one for all queues."""
        return f"{self.global_prefix}fair:{kind}:{self.every if queue is None else queue}"

    def list(self, queue: str) -> str:
        """The key of the list of ready messages, in kombu's format, the next one on the right."""
        return self.global_prefix + queue
