"""Each test has an intake of its own: what one has stored is gone for the next."""

from collections.abc import Iterator

import pytest

from delivery.intake import stop_intake


@pytest.fixture(autouse=True)
def _own_intake() -> Iterator[None]:
    yield
    stop_intake()
