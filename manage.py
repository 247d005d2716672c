#!/usr/bin/env python
"""Django's command line."""

import os
import sys

from recart_hooks.env import SettingError

WITH_THE_DEMO = ".venv/bin/honcho run -e .data/env .venv/bin/python manage.py"


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "recart_hooks.settings")
    from django.core.management import execute_from_command_line  # noqa: PLC0415 - the settings come first

    try:
        execute_from_command_line(sys.argv)
    except SettingError as error:
        sys.exit(f"{error} (all settings: .env.example; with those of a demo that runs: {WITH_THE_DEMO} …)")


if __name__ == "__main__":
    main()
