"""The files of a release that follow from its others: model card, bill of materials, crate, and the seal over all."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from radfed.files import put_text
from radfed.release.card import model_card
from radfed.release.contents import Contents, read_contents
from radfed.release.crate import crate_metadata
from radfed.release.layout import CARD, CRATE, SBOM
from radfed.release.reading import OpenRelease, Release
from radfed.release.sbom import bill_of_materials
from radfed.release.seal import seal

Maker = Callable[[Release, Contents], str]


def as_json(content: dict[str, Any]) -> str:
    """The text of a JSON file in a release."""
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


MAKERS: dict[str, Maker] = {
    CARD: lambda _, contents: model_card(contents),
    SBOM: lambda release, contents: as_json(bill_of_materials(release, contents)),
    CRATE: lambda release, contents: as_json(crate_metadata(release, contents)),
}
"""By file, what makes its text of a release. The crate comes last: it lists the others with their digests."""


def finish(root: Path) -> None:
    """Write what follows from a release's files, and seal it; a signature, which no longer fits, is taken away.

    Raises:
        GateError: a file is missing, is no plain one, or does not say what it must.
    """
    release = OpenRelease(root)
    contents = read_contents(release)
    for name, make in MAKERS.items():
        put_text(root / name, make(release, contents))
    seal(root)
