"""The agent's log on a terminal: one line each, with the ids that came along."""

from __future__ import annotations

import logging

IDS = ("device", "job", "assignment")


class TextFormatter(logging.Formatter):
    """Time, level, message, then the record's ids."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(message)s", "%H:%M:%S")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        ids = [f"{name}={getattr(record, name)}" for name in IDS if hasattr(record, name)]
        return " ".join([super().formatMessage(record).rstrip(), *ids])


def configure(level: str) -> None:
    """Log to standard error; libraries only when something is wrong."""
    handler = logging.StreamHandler()
    handler.setFormatter(TextFormatter())
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    logging.getLogger("propius").setLevel(level)
