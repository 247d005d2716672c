"""How fair queues and the keys beside them are called. The scripts build the same names (lua/common.lua)."""

from dataclasses import dataclass

PREFIX = "partner."


@dataclass(frozen=True, slots=True)
class Naming:
    """`prefix` is what names of fair queues begin with; `global_prefix` stands before every key of the application."""

    prefix: str = PREFIX
    global_prefix: str = ""

    @property
    def every(self) -> str:
        """The queue that stands for all fair queues: consuming it is consuming them all."""
        return self.prefix + "*"

    def is_fair(self, queue: str) -> bool:
        return queue.startswith(self.prefix) and queue != self.every

    def key(self, kind: str, queue: str | None = None) -> str:
        """What the broker keeps of this kind about a queue, or about all of them."""
        return f"{self.global_prefix}fair:{kind}:{queue or self.every}"

    def list(self, queue: str) -> str:
        """The list of ready messages, in kombu's format, the next one rightmost."""
        return self.global_prefix + queue
