import pytest
from hypothesis import given
from hypothesis import strategies as st

from radfed.imaging.pacs.multipart import MultipartError, read_parts

BOUNDARY = b"b-1"


def body(parts: list[bytes], header: bytes = b"Content-Type: application/dicom\r\n") -> bytes:
    return b"".join(b"--b-1\r\n" + header + b"\r\n" + part + b"\r\n" for part in parts) + b"--b-1--\r\n"


def cut(data: bytes, size: int) -> list[bytes]:
    return [data[start : start + size] for start in range(0, len(data), size)]


def joined(chunks: list[bytes]) -> list[bytes]:
    return [b"".join(part) for part in read_parts(chunks, BOUNDARY)]


PARTS = st.lists(
    st.lists(st.sampled_from([b"\r", b"\n", b"-", b"b-1", b"--b-", b"\r\n", b"\x00x"]), max_size=12)
    .map(b"".join)
    .filter(lambda part: b"\r\n--b-1" not in b"\r\n" + part + b"\r\n"),
    max_size=4,
)


@given(PARTS, st.integers(1, 40), st.booleans())
def test_parts_come_back_whatever_the_chunks(parts: list[bytes], size: int, with_header: bool) -> None:
    data = body(parts) if with_header else body(parts, b"")
    assert joined(cut(data, size)) == parts


@given(PARTS.filter(bool), st.integers(1, 40), st.data())
def test_a_body_cut_short_is_noticed(parts: list[bytes], size: int, data: st.DataObject) -> None:
    whole = body(parts)
    end = data.draw(st.integers(0, len(whole) - len(b"--\r\n") - 1))
    with pytest.raises(MultipartError, match="ends before"):
        joined(cut(whole[:end], size))


def test_large_parts_are_not_held_in_memory() -> None:
    chunk = b"x" * 1000
    chunks = [b"--b-1\r\n\r\n", *[chunk] * 1000, b"\r\n--b-1--"]
    (sizes,) = [[len(piece) for piece in part] for part in read_parts(chunks, BOUNDARY)]
    assert sum(sizes) == 1_000_000
    assert max(sizes) <= 2000


def test_a_header_without_end_is_refused() -> None:
    with pytest.raises(MultipartError, match="header"):
        joined([b"--b-1\r\n", *[b"x" * 50_000] * 3])
