import logging

import pytest

from partners.trouble import Trouble


def test_trouble_is_logged_when_it_begins_and_when_it_is_over(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    trouble = Trouble(logging.getLogger("some.part"), "it waits")

    trouble.over()
    for error in (OSError(" refused\n"), OSError("reset"), TimeoutError()):
        trouble.met(error)
    trouble.over()
    trouble.over()
    trouble.met(TimeoutError())

    said = [(record.message, getattr(record, "error", "")) for record in caplog.records]
    assert said == [("it waits", "refused"), ("going on", ""), ("it waits", "TimeoutError")]
