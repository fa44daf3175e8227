"""What was encrypted by an earlier release stays readable, and no use opens another's."""

from uuid import UUID

import pytest
from cryptography.fernet import Fernet, InvalidToken

from tenants import idempotency, keys
from tenants.webhooks import signing

TENANT = UUID("01a203fc-ffb8-718e-a9c4-c195d7f354df")
KEY = idempotency.Key(TENANT, "token ci", "again")


@pytest.fixture(autouse=True)
def known(settings):
    settings.SECRET_KEY = "a secret for tests"
    settings.SECRET_KEY_FALLBACKS = ["the one before"]


def test_keys_are_those_of_earlier_releases():
    assert KEY.digest() == "68591b0ba6875fe0d2251ddf6a11d4edaf2d71422fa30cd7479f3a572dba75c3"
    answers = Fernet(b"IaIDV9SeOO2htt1MuveXynf7Pc_NIEphWBvzw5kOCZU=")
    assert KEY.cipher().decrypt(answers.encrypt(b"kept")) == b"kept"
    webhooks = Fernet(b"0SXsdWZ1_c_EOImDhOakUN9foCy3vUECDAofGIt5Up4=")
    assert signing.opened(webhooks.encrypt(b"whs_1")) == "whs_1"
    before = Fernet(b"7roks5ZKYU4Rr9kgCoEulZFxnieqCXXpZ17DYCkcNp4=")
    assert signing.opened(before.encrypt(b"whs_2")) == "whs_2"
    renewed = signing.renewed(before.encrypt(b"whs_2"))
    assert renewed is not None
    assert webhooks.decrypt(renewed) == b"whs_2"


def test_one_use_does_not_open_anothers():
    with pytest.raises(InvalidToken):
        keys.cipher(b"other").decrypt(keys.cipher(signing.USE).encrypt(b"x"))
    with pytest.raises(signing.SecretSealed):
        signing.opened(KEY.cipher().encrypt(b"x"))
