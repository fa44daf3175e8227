"""Tickets are for one assignment, its digests, its directions and ten minutes."""

import base64
import json
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from aggregation import tickets

NOW = datetime(2026, 1, 2, tzinfo=UTC)
USE = {"assignment_id": UUID(int=1), "downloads": ["a" * 64, "c" * 64], "upload_bytes": 9}


def test_it_opens_what_it_was_issued_for():
    ticket = tickets.issue(**USE, now=NOW)
    found = tickets.verify(ticket, now=NOW + timedelta(seconds=599))
    found.check_download("a" * 64)
    found.check_download("c" * 64)
    found.check_upload(str(UUID(int=1)))
    assert found.upload_bytes == 9


def test_the_public_keys_alone_check_it():
    ticket = tickets.issue(**USE, now=NOW)
    sent = [key.public_bytes_raw() for key in tickets.public_keys(now=NOW).values()]
    keys = tickets.by_id(map(Ed25519PublicKey.from_public_bytes, sent))
    assert tickets.verify(ticket, now=NOW, keys=keys)
    with pytest.raises(tickets.BadTicket):
        tickets.verify(ticket, now=NOW, keys={})


def test_each_period_has_its_key_and_an_earlier_one_checks_until_its_last_ticket_is_over():
    # NOW is a midnight, where a period of a day ends.
    before, day = NOW - timedelta(seconds=1), timedelta(days=1)
    last = tickets.issue(**USE, now=before)
    first = tickets.issue(**USE, now=NOW)
    assert signed_by(last) != signed_by(first)
    assert tickets.verify(last, now=NOW + timedelta(seconds=598))
    kept = NOW + timedelta(seconds=600 + tickets.SKEW_S)
    assert signed_by(last) in tickets.public_keys(now=kept - timedelta(seconds=1))
    # Whoever finds the key of a past period can sign nothing with it.
    assert set(tickets.public_keys(now=kept)) == {
        signed_by(first), signed_by(tickets.issue(**USE, now=NOW + day)),
    }  # fmt: skip
    with pytest.raises(tickets.StaleTicket):
        tickets.verify(last, now=kept)


def test_the_next_periods_key_is_known_ahead():
    known = tickets.public_keys(now=NOW - timedelta(hours=24))
    ticket = tickets.issue(
        **USE, now=NOW
    )  # by a process whose clock is ahead, or with its root away
    assert tickets.verify(ticket, now=NOW, keys=known)


def test_another_key_under_a_known_id_opens_nothing():
    ticket = tickets.issue(**USE, now=NOW)
    other = Ed25519PrivateKey.generate().public_key()
    with pytest.raises(tickets.BadTicket):
        tickets.verify(ticket, now=NOW, keys={signed_by(ticket): other})


def test_a_secret_that_is_being_replaced_still_checks_and_no_longer_signs(settings):
    ticket = tickets.issue(**USE, now=NOW)
    old, settings.SECRET_KEY = settings.SECRET_KEY, "the new secret"
    with pytest.raises(tickets.BadTicket):
        tickets.verify(ticket, now=NOW)
    settings.SECRET_KEY_FALLBACKS = [old]
    assert tickets.verify(ticket, now=NOW)
    fresh = tickets.issue(**USE, now=NOW)
    settings.SECRET_KEY_FALLBACKS = []
    assert tickets.verify(fresh, now=NOW)


def signed_by(ticket):
    payload = ticket.split(".")[0]
    return json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))["key"]


def test_it_is_stale_after_ten_minutes():
    ticket = tickets.issue(**USE, now=NOW)
    with pytest.raises(tickets.StaleTicket, match=r"ran out 5 s ago; connect .* welcome\.resume"):
        tickets.verify(ticket, now=NOW + timedelta(seconds=605))


def test_it_opens_nothing_else():
    found = tickets.verify(tickets.issue(**USE, now=NOW), now=NOW)
    with pytest.raises(tickets.WrongTicket, match="not for digest 'bbb"):
        found.check_download("b" * 64)
    with pytest.raises(tickets.WrongTicket, match="not for assignment") as wrong:
        found.check_upload(str(UUID(int=2)))
    assert str(UUID(int=1)) in wrong.value.errors["assignment"]


def test_that_of_an_evaluation_opens_no_upload():
    ticket = tickets.issue(**(USE | {"upload_bytes": 0}), now=NOW)
    with pytest.raises(tickets.WrongTicket, match="downloads only"):
        tickets.verify(ticket, now=NOW).check_upload(str(UUID(int=1)))


def test_a_changed_or_foreign_ticket_is_refused(settings):
    ticket = tickets.issue(**USE, now=NOW)
    payload, signature = ticket.split(".")
    settings.SECRET_KEY = "another platform's"
    foreign = tickets.issue(**USE, now=NOW)
    settings.SECRET_KEY = "development-only-never-in-production"
    for bad in (
        "",
        "x",
        "é.é",
        f"{payload}A.{signature}",
        payload,
        f"{ticket}.x",
        foreign,
        "a" * 9999,
    ):
        with pytest.raises(tickets.BadTicket, match="Authorization: Bearer"):
            tickets.verify(bad, now=NOW)
