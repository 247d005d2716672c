"""A bound on what a query may cost, for questions whose price depends on how much there is to look through."""

from django.db import connection


def limit_query_time(seconds: float) -> None:
    """For the rest of this transaction; what takes longer raises OperationalError caused by QueryCanceled."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT set_config('statement_timeout', %s, true)", [str(int(seconds * 1000))])
