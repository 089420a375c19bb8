"""Results of predictions back to the PACS."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from radfed.errors import RadfedError
from radfed.imaging.pacs.address import PacsAddress
from radfed.imaging.pacs.send import send
from radfed.imaging.pacs.settings import PacsSettings
from radfed.inference.predict import Prediction

NOT_SENT = "not_sent"
_STAYS = "the files stay where they are; predict again, or send them by other means"


def send_results(
    predictions: Sequence[Prediction],
    out: Path,
    address: PacsAddress,
    settings: PacsSettings,
    on_progress: Callable[[int, int], None] | None = None,
) -> list[Prediction]:
    """Send SEG and SR of every prediction that has them.

    Returns:
        The predictions, with ``sent``, and where something was not sent with the reason ``not_sent``.
    """
    files = [out / name for one in predictions for name in (one.seg, one.sr) if name]
    refused: dict[str, str] = {}
    given_up = ""
    if files:
        try:
            refused = {path.name: code for path, code in send(address, settings, files, on_progress).failed}
        except RadfedError as error:
            # Which files had arrived before is not known: none counts as sent.
            given_up = str(error)
    return [_told(one, refused, given_up) for one in predictions]


def _told(one: Prediction, refused: dict[str, str], given_up: str) -> Prediction:
    if one.seg is None or one.sr is None:
        return one
    codes = [f"{name}: {refused[name]}" for name in (one.seg, one.sr) if name in refused]
    if not given_up and not codes:
        return replace(one, sent=True)
    why = given_up or f"the PACS refused {', '.join(codes)}"
    return replace(one, sent=False, reason=NOT_SENT, message=f"{why}; {_STAYS}")
