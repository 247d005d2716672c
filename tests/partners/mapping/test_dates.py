from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import pytest

from partners.mapping.dates import check_format, date_from_number, date_from_text, format_date, zone_from_text

NEW_YORK = timezone(timedelta(hours=-5))
MOMENT = datetime(2026, 3, 7, 0, 5, 9, 123456, NEW_YORK)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-01-02T15:04:05Z", datetime(2026, 1, 2, 15, 4, 5, tzinfo=UTC)),
        ("2026-01-02t15:04:05z", datetime(2026, 1, 2, 15, 4, 5, tzinfo=UTC)),
        ("2026-01-02T15:04:05-05:00", datetime(2026, 1, 2, 15, 4, 5, tzinfo=NEW_YORK)),
        ("2026-01-02 15:04:05 UTC", datetime(2026, 1, 2, 15, 4, 5, tzinfo=UTC)),
        (
            "2026-01-02T15:04:05.123456789+0530",
            datetime(2026, 1, 2, 15, 4, 5, 123456, timezone(timedelta(minutes=330))),
        ),
        ("2026-01-02T15:04:05,5Z", datetime(2026, 1, 2, 15, 4, 5, 500_000, tzinfo=UTC)),
        ("2026-01-02T15:04", datetime(2026, 1, 2, 15, 4, tzinfo=UTC)),
        ("2026-01-02", datetime(2026, 1, 2, tzinfo=UTC)),
    ],
)
def test_dates_as_text(text: str, expected: datetime) -> None:
    assert date_from_text(text) == expected
    assert date_from_text(text).utcoffset() == expected.utcoffset()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "yesterday",
        "2026-13-01",
        "2026-02-30",
        "2026-01-02T25:00:00Z",
        "20260102",
        "2026-W01-1",
        "02/01/2026",
        "2026-01-02T15:04:05+99:99",
        "٢٠٢٦-01-02",
        "0000-01-01",
        "2026-01-02T15:04:05Zjunk",
    ],
)
def test_text_that_is_not_a_date(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        date_from_text(text)


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (0, datetime(1970, 1, 1, tzinfo=UTC)),
        (1_700_000_000, datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)),
        (1_700_000_000_123, datetime(2023, 11, 14, 22, 13, 20, 123_000, tzinfo=UTC)),
        (Decimal("1700000000.5"), datetime(2023, 11, 14, 22, 13, 20, 500_000, tzinfo=UTC)),
        (-1, datetime(1969, 12, 31, 23, 59, 59, tzinfo=UTC)),
        (Decimal("-0.5"), datetime(1969, 12, 31, 23, 59, 59, 500_000, tzinfo=UTC)),
    ],
)
def test_dates_as_numbers_are_seconds_or_milliseconds(number: int | Decimal, expected: datetime) -> None:
    assert date_from_number(number) == expected


@pytest.mark.parametrize("number", [10**15, -(10**15), 10**18, 10**400, Decimal("Infinity"), Decimal("-1e999999")])
def test_numbers_beyond_the_calendar(number: int | Decimal) -> None:
    with pytest.raises((ValueError, OverflowError)):
        date_from_number(number)


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ("iso", "2026-03-07T00:05:09-05:00"),
        ("iso_ms", "2026-03-07T00:05:09.123-05:00"),
        ("date", "2026-03-07"),
        ("time", "00:05:09"),
        ("unix", 1772859909),
        ("unix_ms", 1772859909123),
        ("%d.%m.%y, %H:%M", "07.03.26, 00:05"),
        ("%A %-d %B %Y, %-I:%M %p", "Saturday 7 March 2026, 12:05 AM"),
        ("%a %b %-m %-H %I %j %S.%f %z 100%%", "Sat Mar 3 0 12 066 09.123456 -0500 100%"),
    ],
)
def test_formats(form: str, expected: str | int) -> None:
    check_format(form)
    assert format_date(MOMENT, form) == expected


def test_utc_is_written_z_and_noon_is_pm() -> None:
    noon = datetime(2026, 3, 7, 12, 0, tzinfo=UTC)
    assert format_date(noon, "iso") == "2026-03-07T12:00:00Z"
    assert format_date(noon, "%I %p %z") == "12 PM +0000"
    assert format_date(noon.replace(tzinfo=timezone(timedelta(minutes=330))), "iso") == "2026-03-07T12:00:00+05:30"


@pytest.mark.parametrize("form", ["rfc", "", "%Q", "%-Y", "50%", "%"])
def test_an_invalid_format(form: str) -> None:
    with pytest.raises(ValueError, match=r"not a date format|is not available in a date"):
        check_format(form)


@pytest.mark.parametrize(("text", "minutes"), [("UTC", 0), ("Z", 0), ("+02:00", 120), ("-0530", -330)])
def test_zones(text: str, minutes: int) -> None:
    assert zone_from_text(text).utcoffset(None) == timedelta(minutes=minutes)


@pytest.mark.parametrize("text", ["", "CET", "Europe/Paris", "+2", "+25:00"])
def test_an_invalid_zone(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        zone_from_text(text)
