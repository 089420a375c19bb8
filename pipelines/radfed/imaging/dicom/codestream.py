"""The image size that a compressed frame itself declares, read before a decoder allocates for it."""

_JPEG = {f"1.2.840.10008.1.2.4.{number}" for number in (50, 51, 57, 70, 80, 81)}
_JPEG_2000 = {f"1.2.840.10008.1.2.4.{number}" for number in (90, 91, 201, 202, 203)}
_FRAME_MARKERS = {*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC}
_WITHOUT_LENGTH = {0x01, *range(0xD0, 0xD9)}


def coded_shape(code: bytes, transfer_syntax: str) -> tuple[int, int] | None:
    """Rows and columns of a JPEG, JPEG-LS or JPEG 2000 code; None for others or where no size is found."""
    if transfer_syntax in _JPEG:
        return _jpeg(code)
    if transfer_syntax in _JPEG_2000:
        return _jpeg_2000(code)
    return None


def _jpeg(code: bytes) -> tuple[int, int] | None:
    """From the start-of-frame segment (ITU-T T.81 B.2.2, T.87 C.2.2)."""
    at = 2
    while at + 9 <= len(code):
        if code[at] != 0xFF:
            return None
        marker = code[at + 1]
        if marker == 0xFF:
            at += 1
        elif marker in _FRAME_MARKERS:
            return int.from_bytes(code[at + 5 : at + 7], "big"), int.from_bytes(code[at + 7 : at + 9], "big")
        elif marker in _WITHOUT_LENGTH:
            at += 2
        else:
            at += 2 + max(2, int.from_bytes(code[at + 2 : at + 4], "big"))
    return None


def _jpeg_2000(code: bytes) -> tuple[int, int] | None:
    """From the SIZ segment, which follows the start of the codestream (ITU-T T.800 A.5.1)."""
    at = code.find(b"\xff\x4f\xff\x51")
    if at < 0 or at + 24 > len(code):
        return None
    width, height, left, top = (int.from_bytes(code[at + 8 + 4 * n : at + 12 + 4 * n], "big") for n in range(4))
    return height - top, width - left
