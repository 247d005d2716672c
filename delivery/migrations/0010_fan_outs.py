"""Adds the deliveries of events to partners with many subscriptions, which are made later (delivery.fan_out)."""

import django.db.models.deletion
import partners.fields
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('delivery', '0009_mailed_to'),
        ('partners', '0012_help_texts'),
    ]

    operations = [
        migrations.CreateModel(
            name='FanOut',
            fields=[
                ('id', partners.fields.IdField('fan', db_collation='C', max_length=40, serialize=False)),
                ('event_type', models.CharField(db_collation='C', max_length=200)),
                ('created_at', models.DateTimeField()),
                ('after', models.CharField(db_collation='C', default='', help_text='The last subscription that was looked at.', max_length=40)),
                ('event', models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='fan_outs', to='delivery.event')),
                ('partner', models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='+', to='partners.partner')),
            ],
            options={
                'indexes': [models.Index(fields=['partner', 'created_at'], name='fan_out_of_partner')],
                'constraints': [models.UniqueConstraint(fields=('event', 'partner'), name='fan_out_once_per_event_and_partner')],
            },
        ),
    ]
