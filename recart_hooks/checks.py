"""Ends a process that starts with settings in which Django's checks find errors. `manage.py` does so by itself, but
gunicorn runs no checks, and Celery ignores what they find."""

from django.core.management.base import BaseCommand


def refuse_errors() -> None:
    """Runs all checks that need no database. Raises SystemCheckError."""
    BaseCommand().check()
