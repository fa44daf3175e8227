"""Tickets are for one assignment, its digests, its directions and ten minutes."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

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


def test_the_public_key_alone_checks_it():
    ticket = tickets.issue(**USE, now=NOW)
    assert tickets.verify(ticket, now=NOW, key=tickets.public_key())


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
