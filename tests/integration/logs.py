"""All that is logged, as production writes it: every level, with each record's extras."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from django.conf import settings
from pythonjsonlogger.json import JsonFormatter


class Heard(logging.Handler):
    """Keeps every record's line."""

    def __init__(self) -> None:
        super().__init__(logging.NOTSET)
        self.setFormatter(JsonFormatter(settings.LOGGING["formatters"]["json"]["fmt"]))
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))


@contextmanager
def everything() -> Iterator[Heard]:
    """Listen to all loggers at DEBUG."""
    heard = Heard()
    names = ("", "django", "uvicorn", *(one for one in logging.root.manager.loggerDict))
    loggers = [logging.getLogger(one) for one in names]
    before = [(one, one.level) for one in loggers]
    logging.getLogger().addHandler(heard)
    for one in loggers:
        one.setLevel(logging.DEBUG)
    try:
        yield heard
    finally:
        logging.getLogger().removeHandler(heard)
        for one, level in before:
            one.setLevel(level)


def told(heard: Heard, secrets: dict[str, str]) -> list[tuple[str, str]]:
    """Return each secret that a line holds, with the line."""
    assert all(len(one) > 8 for one in secrets.values()), "too short to look for"
    return [
        (name, line) for line in heard.lines for name, secret in secrets.items() if secret in line
    ]
