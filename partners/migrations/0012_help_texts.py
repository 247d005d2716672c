"""Changes texts, and nothing in the database."""

import partners.validation
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('partners', '0011_mail_addresses'),
    ]

    operations = [
        migrations.AlterField(
            model_name='apikey',
            name='hint',
            field=models.CharField(editable=False, help_text='The first characters of the key.', max_length=16),
        ),
        migrations.AlterField(
            model_name='apikey',
            name='name',
            field=models.CharField(help_text='What the key is for.', max_length=100),
        ),
        migrations.AlterField(
            model_name='eventtype',
            name='is_catalogued',
            field=models.BooleanField(default=True, help_text='Off: seen in an event, but not described yet.'),
        ),
        migrations.AlterField(
            model_name='partner',
            name='paused_until',
            field=models.DateTimeField(blank=True, help_text='Nothing is sent until then; events wait in the queue.', null=True),
        ),
        migrations.AlterField(
            model_name='partner',
            name='rate_limit',
            field=models.CharField(blank=True, help_text='Deliveries per second, minute or hour over all workers: 50/s, 600/m, 1000/h. Empty: the ceiling.', max_length=32, validators=[partners.validation.validate_rate_limit]),
        ),
        migrations.AlterField(
            model_name='partner',
            name='rate_limit_ceiling',
            field=models.CharField(blank=True, help_text='The highest rate limit that the partner may set. Empty: no ceiling.', max_length=32, validators=[partners.validation.validate_rate_limit]),
        ),
        migrations.AlterField(
            model_name='subscription',
            name='filter',
            field=models.TextField(blank=True, help_text='JSONPath. An event is sent if it finds something.', validators=[partners.validation.validate_filter]),
        ),
        migrations.AlterConstraint(
            model_name='apikey',
            name='api_key_of_a_partner_or_the_platform',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('partner', None), ('scope__in', ['producer', 'catalogue'])), models.Q(('partner__isnull', False), ('scope__in', ['partner', 'read_only'])), _connector='OR'), name='api_key_of_a_partner_or_the_platform', violation_error_message="A producer's or the catalogue's key belongs to no partner; others need one."),
        ),
    ]
