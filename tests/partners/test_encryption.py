from typing import Any

import pytest
from cryptography.fernet import Fernet

from partners.encryption import check_keys


@pytest.mark.parametrize("keys", [[], ["abc"], ["é"], [Fernet.generate_key().decode(), "abc"]])
def test_keys_that_encrypt_nothing_are_reported_without_showing_them(settings: Any, keys: list[str]) -> None:
    settings.ENCRYPTION_KEYS = keys
    (error,) = check_keys()
    assert error.id == "partners.E001"
    assert error.msg.startswith("ENCRYPTION_KEYS: ")
    assert not any(key in str(error) for key in keys)
    settings.ENCRYPTION_KEYS = [Fernet.generate_key().decode()]
    assert not check_keys()
