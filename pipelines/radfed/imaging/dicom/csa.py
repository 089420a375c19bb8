"""Siemens' own header inside a header, "CSA2": what a mosaic's slices have in common.

The layout is nowhere published; this follows what dcm2niix and nibabel read.
"""

import struct
from collections.abc import Sequence

_MAGIC = b"SV10\x04\x03\x02\x01"
_MAX_TAGS = 1024
_MAX_ITEMS = 1024
_TAG = struct.Struct("<64si4siii")  # name, multiplicity, VR, type, number of items, a constant
_ITEM = struct.Struct("<4i")  # the second number is the length; content is padded to a multiple of 4


def csa_values(data: bytes, names: Sequence[str]) -> dict[str, tuple[float, ...]]:
    """The finite numbers that a CSA2 header gives for some of its names; what is absent or broken is left out."""
    if not data.startswith(_MAGIC):
        return {}
    found: dict[str, tuple[float, ...]] = {}
    try:
        (count,) = struct.unpack_from("<I", data, 8)
        at = 16
        for _ in range(min(count, _MAX_TAGS)):
            raw, _, _, _, items, _ = _TAG.unpack_from(data, at)
            at += _TAG.size
            texts = []
            for _ in range(min(items, _MAX_ITEMS)):
                length = _ITEM.unpack_from(data, at)[1]
                at += _ITEM.size
                if length < 0 or at + length > len(data):
                    return found
                texts.append(_text(data[at : at + length]))
                at += -(-length // 4) * 4
            name = _text(raw)
            if name in names:
                found[name] = tuple(float(text) for text in texts if text)
    except (struct.error, ValueError):
        return found
    return found


def _text(raw: bytes) -> str:
    return raw.split(b"\x00", 1)[0].decode("latin-1").strip()
