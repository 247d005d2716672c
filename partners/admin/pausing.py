"""The dialog that asks how long to pause a partner."""

from datetime import datetime, timedelta

from django import forms
from django.utils import timezone
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from partners.admin.base import DialogForm
from partners.models import FOREVER


class PauseForm(DialogForm):
    """Asks for a length or an end. Without either, the pause lasts until somebody resumes."""

    length = forms.ChoiceField(
        label="Send nothing",
        choices=[
            ("", "until somebody resumes"),
            ("900", "for 15 minutes"),
            ("3600", "for an hour"),
            ("14400", "for 4 hours"),
            ("86400", "for a day"),
        ],
        required=False,
        widget=UnfoldAdminSelectWidget,
    )
    until = forms.DateTimeField(
        label="or until (UTC)",
        required=False,
        widget=UnfoldAdminTextInputWidget(attrs={"type": "datetime-local"}),
    )

    def clean_until(self) -> datetime | None:
        until: datetime | None = self.cleaned_data["until"]
        if until is not None and until <= timezone.now():
            raise forms.ValidationError("This time is in the past.")
        return until

    @property
    def ends_at(self) -> datetime:
        until: datetime | None = self.cleaned_data["until"]
        length: str = self.cleaned_data["length"]
        if until is not None:
            return until
        return timezone.now() + timedelta(seconds=int(length)) if length else FOREVER
