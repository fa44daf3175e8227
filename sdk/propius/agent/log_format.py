"""The agent's log on a terminal: one line each, with the ids that came along."""

from __future__ import annotations

import logging

from propius.agent.events import Note

IDS = ("device", "job", "assignment")
LOUD = {"session.refused", "session.retry", "assignment.failed", "assignment.lost"}
"""Notes that are warnings."""


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


def write_note(log: logging.Logger, note: Note, *, device: str, loud: bool) -> None:
    """Log what the session notes, with the ids as fields of the record."""
    fields = dict(note.fields)
    ids: dict[str, object] = {"device": device}
    ids |= {key: fields.pop(key) for key in ("assignment", "job") if fields.get(key)}
    words = " ".join(f"{key}={value}" for key, value in fields.items() if value not in ("", {}))
    log.log(logging.WARNING if loud else logging.INFO, "%s %s", note.event, words, extra=ids)
