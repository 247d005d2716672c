"""Every committed change of a partner, a subscription, a secret or an event type is announced on `partners_changed`.

The database does it, not Python, so that bulk updates and hand-written statements are announced too.
`failing_since` is left out: workers write it, and nothing caches it.
"""

from django.db import migrations

_FUNCTION = """
CREATE FUNCTION partners_announce_change() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    subject jsonb := to_jsonb(coalesce(NEW, OLD));
BEGIN
    PERFORM pg_notify('partners_changed', TG_ARGV[0] || ':' || (subject ->> TG_ARGV[1]));
    RETURN NULL;
END
$$;
"""

_COLUMNS = {
    "partner": ("name", "rate_limit", "rate_limit_ceiling", "max_in_flight", "paused_until", "operational_url"),
    "subscription": (
        "partner_id", "url", "event_types", "filter", "transformation", "headers", "retry_schedule_s", "timeout_s",
        "is_enabled", "deleted_at",
    ),
    "subscriptionsecret": ("token", "expires_at"),
    "eventtype": ("schema", "on_schema_error", "is_catalogued", "is_deprecated", "version"),
}
_SUBJECTS = {
    "partner": ("partner", "id"),
    "subscription": ("subscription", "id"),
    "subscriptionsecret": ("subscription", "subscription_id"),
    "eventtype": ("event_type", "name"),
}


def _trigger(table: str) -> migrations.RunSQL:
    subject, key = _SUBJECTS[table]
    columns = ", ".join(_COLUMNS[table])
    return migrations.RunSQL(
        f"CREATE TRIGGER announce_change AFTER INSERT OR DELETE OR UPDATE OF {columns} ON partners_{table} "
        f"FOR EACH ROW EXECUTE FUNCTION partners_announce_change('{subject}', '{key}');",
        f"DROP TRIGGER announce_change ON partners_{table};",
    )


class Migration(migrations.Migration):
    dependencies = [("partners", "0001_initial")]

    operations = [
        migrations.RunSQL(_FUNCTION, "DROP FUNCTION partners_announce_change();"),
        *(_trigger(table) for table in _COLUMNS),
    ]
