from django.db import migrations, models


class Migration(migrations.Migration):
    """More choices of resolutions. The table itself does not change."""

    dependencies = [
        ('delivery', '0005_replay_jobs'),
    ]

    operations = [
        migrations.SeparateDatabaseAndState(
            state_operations=[
                migrations.AlterField(
                    model_name='rollup',
                    name='resolution_s',
                    field=models.PositiveIntegerField(choices=[(60, '60 s'), (600, '600 s'), (3600, '3600 s'), (21600, '21600 s'), (86400, '86400 s')]),
                ),
            ],
        ),
    ]
