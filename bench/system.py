"""The system under test: bridge, workers and beat, run as the Procfile does, but with logs at WARNING."""

from collections.abc import Sequence

from cryptography.fernet import Fernet

from bench import seed
from bench.programs import START_S, Programs, ProgramsFailedError
from recart_hooks.waiting import wait_until

_CELERY = ("-m", "celery", "--quiet", "--app", "recart_hooks")


class System(Programs):
    """`workers` is the number of worker processes."""

    def __init__(self, groups: Sequence[seed.Group], *, workers: int = 2) -> None:
        super().__init__(_settings())
        self._groups = groups
        self._workers = workers

    def start(self) -> None:
        self.run("-m", "bench.seed", text=seed.dump(self._groups))
        self.spawn("bridge", "manage.py", "bridge")
        for number in range(self._workers):
            options = ("--hostname", f"worker{number}@bench", "--without-gossip", "--without-mingle")
            self.spawn("workers", *_CELERY, "worker", *options)
        self.spawn("beat", *_CELERY, "beat", "--schedule", str(self.directory / "beat"))
        if not wait_until(self.takes_events, START_S):
            raise ProgramsFailedError("the bridge made no stream")

    def is_idle(self) -> bool:
        return self.number("SELECT count(*) FROM delivery_delivery WHERE status = 'pending'") == 0

    def hold(self, group: seed.Group) -> None:
        """Pauses a group's partners, as staff would."""
        self._pause(group, "'9999-01-01'")

    def release(self, group: seed.Group) -> None:
        self._pause(group, "NULL")

    def _pause(self, group: seed.Group, until: str) -> None:
        self.execute(f"UPDATE partners_partner SET paused_until = {until} WHERE id LIKE 'ptr\\_{group.name}\\_%'")


def _settings() -> dict[str, str]:
    return {
        "DJANGO_SETTINGS_MODULE": "recart_hooks.settings",
        "SECRET_KEY": "only-for-the-benchmark",
        "ENCRYPTION_KEYS": Fernet.generate_key().decode(),
        "ENDPOINT_ALLOWED_NETWORKS": "127.0.0.0/8",
        "LOG_LEVEL": "WARNING",
        "PYTHONUNBUFFERED": "1",
    }
