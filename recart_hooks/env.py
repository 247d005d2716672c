"""Reads typed settings from the environment. An error names the variable that is wrong.

`NAME_FILE` may name a file that holds the value of NAME (a mounted secret). `declared` collects every name that is
read, so that a test can compare it with `.env.example`.
"""

import os
import re
from collections.abc import Mapping
from configparser import ConfigParser
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path

_RATE = re.compile(r"([1-9][0-9]{0,8})/([smh])")
_UNITS_S = {"s": 1, "m": 60, "h": 3600}
_LONGEST_DAYS = 36_500
"""Of every duration: now plus or minus a hundred years is still a date."""
_LONGEST_S = _LONGEST_DAYS * 24 * 3600
_LAST_PORT = 65_535


class SettingError(Exception):
    """A setting is missing or unusable; the message names it."""


class Env:
    """Typed access to environment variables. An empty value counts as not set."""

    def __init__(self, environ: Mapping[str, str] | None = None) -> None:
        self._environ = os.environ if environ is None else environ
        self.declared: set[str] = set()

    def text(self, name: str, default: str | None = None) -> str:
        """The value as a string. Raises SettingError when it is not set and has no default."""
        value = self._raw(name)
        if value is not None:
            return value
        if default is None:
            raise SettingError(f"{name} is not set")
        return default

    def integer(self, name: str, default: int, minimum: int | None = None, maximum: int | None = None) -> int:
        value = self._raw(name)
        try:
            number = default if value is None else int(value)
        except ValueError:
            raise SettingError(f"{name}: expected a whole number, got {value!r}") from None
        _check_bounds(name, number, minimum, maximum)
        return number

    def days(self, name: str, default: int) -> int:
        return self.integer(name, default, minimum=1, maximum=_LONGEST_DAYS)

    def port(self, name: str, default: int, minimum: int = 1) -> int:
        return self.integer(name, default, minimum, _LAST_PORT)

    def seconds(self, name: str, default: float, minimum: float | None = None, maximum: float = _LONGEST_S) -> float:
        value = self._raw(name)
        try:
            number = float(default if value is None else value)
        except ValueError:
            raise SettingError(f"{name}: expected a number of seconds, got {value!r}") from None
        if not 0 < number < float("inf"):
            raise SettingError(f"{name}: expected a positive number of seconds, got {number}")
        _check_bounds(name, number, minimum, maximum)
        return number

    def boolean(self, name: str, default: bool) -> bool:
        value = self._raw(name)
        if value is None:
            return default
        try:
            return ConfigParser.BOOLEAN_STATES[value.lower()]
        except KeyError:
            raise SettingError(f"{name}: expected true or false, got {value!r}") from None

    def words(self, name: str, default: tuple[str, ...] = ()) -> list[str]:
        """A list separated by commas."""
        value = self._raw(name)
        return list(default) if value is None else [word.strip() for word in value.split(",") if word.strip()]

    def many_seconds(self, name: str, default: tuple[float, ...]) -> tuple[float, ...]:
        """A list of positive numbers of seconds, separated by commas."""
        try:
            found = tuple(float(word) for word in self.words(name))
        except ValueError:
            raise SettingError(f"{name}: expected numbers separated by commas, got {self._raw(name)!r}") from None
        if any(not 0 < number <= _LONGEST_S for number in found):
            raise SettingError(f"{name}: every number must be positive and at most {_LONGEST_S}")
        return found or default

    def request_rate(self, name: str, default: str) -> tuple[int, int] | None:
        """Reads `600/m` as (600, 60): requests and seconds. The word `none` gives None: no limit."""
        value = self.text(name, default)
        if value == "none":
            return None
        found = _RATE.fullmatch(value)
        if found is None:
            raise SettingError(f"{name}: expected requests per s, m or h such as 600/m, or none, got {value!r}")
        return int(found[1]), _UNITS_S[found[2]]

    def ports(self, name: str, default: tuple[int, ...]) -> tuple[int, ...]:
        """Port numbers separated by commas; the word `any` gives an empty tuple."""
        words = self.words(name, tuple(map(str, default)))
        if words == ["any"]:
            return ()
        if not words or not all(map(_is_port, words)):
            raise SettingError(f"{name}: expected port numbers separated by commas, or `any`, got {self._raw(name)!r}")
        return tuple(map(int, words))

    def networks(self, name: str) -> tuple[IPv4Network | IPv6Network, ...]:
        """A list of networks in CIDR notation, separated by commas."""
        try:
            return tuple(ip_network(word) for word in self.words(name))
        except ValueError as error:
            raise SettingError(f"{name}: {error}") from None

    def choice(self, name: str, options: tuple[str, ...], default: str) -> str:
        """One of the options, whatever its case."""
        value = self.text(name, default)
        for option in options:
            if option.lower() == value.lower():
                return option
        raise SettingError(f"{name}: expected one of {', '.join(options)}, got {value!r}")

    def _raw(self, name: str) -> str | None:
        self.declared.add(name)
        path = self._environ.get(f"{name}_FILE")
        if path:
            try:
                return Path(path).read_text(encoding="utf-8").strip() or None
            except (OSError, UnicodeDecodeError) as error:
                raise SettingError(f"{name}_FILE: cannot read {path!r}: {error}") from None
        return self._environ.get(name, "").strip() or None


def _is_port(word: str) -> bool:
    return word.isascii() and word.isdigit() and len(word) <= 5 and 0 < int(word) <= _LAST_PORT


def _check_bounds(name: str, number: float, minimum: float | None, maximum: float | None) -> None:
    if minimum is not None and number < minimum:
        raise SettingError(f"{name}: must be at least {minimum}, got {number}")
    if maximum is not None and number > maximum:
        raise SettingError(f"{name}: must be at most {maximum}, got {number}")
