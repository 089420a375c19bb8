"""The parts of a ``multipart/related`` body, as they arrive; none is held in memory whole (RFC 2046, 5.1)."""

from collections.abc import Iterable, Iterator

_LONGEST_HEADER = 64 * 1024


class MultipartError(ValueError):
    """The body ended early or is no multipart."""


def read_parts(chunks: Iterable[bytes], boundary: bytes) -> Iterator[Iterator[bytes]]:
    """The body of each part, in pieces. A part must be read to its end before the next is asked for.

    Raises:
        MultipartError: the body ends before its closing boundary.
    """
    buffer = _Buffer(chunks)
    delimiter = b"\r\n--" + boundary
    for _ in buffer.until(delimiter):
        pass  # what stands before the first boundary has no meaning
    while buffer.peek(2) != b"--":
        header = 0
        for piece in buffer.until(b"\r\n\r\n"):
            header += len(piece)
            if header > _LONGEST_HEADER:
                raise MultipartError("a part's header does not end")
        yield buffer.until(delimiter)


class _Buffer:
    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        self._data = bytearray(b"\r\n")  # the first boundary may stand at the very start

    def until(self, mark: bytes) -> Iterator[bytes]:
        """What stands before the mark, in pieces; then the mark is gone too."""
        keep = len(mark) - 1  # the mark may be cut by the end of a chunk
        while True:
            at = self._data.find(mark)
            if at >= 0:
                piece = bytes(self._data[:at])
                del self._data[: at + len(mark)]
                yield piece
                return
            if len(self._data) > keep:
                piece = bytes(self._data[:-keep])
                del self._data[:-keep]
                yield piece
            self._fill()

    def peek(self, count: int) -> bytes:
        while len(self._data) < count:
            self._fill()
        return bytes(self._data[:count])

    def _fill(self) -> None:
        try:
            self._data += next(self._chunks)
        except StopIteration:
            raise MultipartError("the body ends before its closing boundary") from None
