"""The credit window of one upload: which chunk may come next. Pure."""

from __future__ import annotations

from propius import wire


class ChunkRefused(ValueError):
    """A chunk that may not come now; ``code`` is stable."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class Window:
    """Follows an upload of ``size_bytes`` as transfer ``transfer``.

    Closed until :meth:`open` says how much is there already.
    """

    def __init__(self, transfer: int, size_bytes: int) -> None:
        self.transfer = transfer
        self.size_bytes = size_bytes
        self.received = 0
        self.granted = 0
        self.is_open = False

    @property
    def is_complete(self) -> bool:
        """Tell whether the last byte has come."""
        return self.is_open and self.received == self.size_bytes

    def open(self, offset: int) -> int:
        """Start at ``offset``; return the first credit."""
        self.is_open = True
        self.received = offset
        self.granted = min(self.size_bytes, offset + wire.WINDOW)
        return self.granted - offset

    def take(self, offset: int, size_bytes: int) -> None:
        """Count a chunk.

        Raises
        ------
        ChunkRefused
            ``out_of_order`` before the window opened, ``offset_mismatch`` for a gap or a repeat,
            ``too_large`` past the announced size, ``credit_exceeded`` past the credit.
        """
        if not self.is_open:
            raise ChunkRefused("out_of_order", "a chunk came before upload_ready")
        if offset != self.received:
            raise ChunkRefused(
                "offset_mismatch", f"a chunk at offset {offset}; {self.received} is expected"
            )
        end = offset + size_bytes
        if end > self.size_bytes:
            raise ChunkRefused(
                "too_large", f"a chunk ends at byte {end}; {self.size_bytes} were announced"
            )
        if end > self.granted:
            raise ChunkRefused(
                "credit_exceeded", f"a chunk ends at byte {end}; credit reaches to {self.granted}"
            )
        self.received = end

    def written(self, size_bytes: int) -> int:
        """Count bytes that left memory; return the credit to give back (0 at the end)."""
        credit = min(size_bytes, self.size_bytes - self.granted)
        self.granted += credit
        return credit
