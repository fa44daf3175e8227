"""Tickets are for one assignment, one digest, one direction and ten minutes."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from aggregation import tickets

NOW = datetime(2026, 1, 2, tzinfo=UTC)
USE = {"assignment_id": UUID(int=1), "direction": "download", "digest": "a" * 64}


def test_it_opens_what_it_was_issued_for():
    ticket = tickets.issue(**USE, now=NOW)
    assert tickets.verify(ticket, **USE, now=NOW + timedelta(seconds=599)).digest == "a" * 64


def test_the_public_key_alone_checks_it():
    ticket = tickets.issue(**USE, now=NOW)
    assert tickets.verify(ticket, **USE, now=NOW, key=tickets.public_key())


def test_it_is_stale_after_ten_minutes():
    ticket = tickets.issue(**USE, now=NOW)
    with pytest.raises(tickets.StaleTicket, match="ran out 5 s ago; ask for a new one"):
        tickets.verify(ticket, **USE, now=NOW + timedelta(seconds=605))


@pytest.mark.parametrize(
    ("field", "value"),
    [("assignment_id", UUID(int=2)), ("direction", "upload"), ("digest", "b" * 64)],
)
def test_it_opens_nothing_else(field, value):
    ticket = tickets.issue(**USE, now=NOW)
    with pytest.raises(tickets.BadTicket, match=f"the ticket is for {field.split('_')[0]}"):
        tickets.verify(ticket, **(USE | {field: value}), now=NOW)


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
        with pytest.raises(tickets.BadTicket, match="check in for a new one"):
            tickets.verify(bad, **USE, now=NOW)
