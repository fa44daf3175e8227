"""The readable log format of development; production writes the same records as JSON."""

import logging

IDS = ("tenant", "job", "round", "assignment", "device")


class TextFormatter(logging.Formatter):
    """One line per record, with the ids that came as ``extra``."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(name)s: %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        ids = [f"{name}={getattr(record, name)}" for name in IDS if hasattr(record, name)]
        return " ".join([super().formatMessage(record), *ids])
