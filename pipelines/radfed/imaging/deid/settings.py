"""What a site has decided about de-identification."""

from typing import Annotated

from pydantic import Field

from radfed.settings import Settings


class DeidSettings(Settings):
    """What the site may choose in the Basic Profile and its options; see ``engine`` for what is always done."""

    max_shift_days: Annotated[int, Field(ge=1, le=3650)] = Field(
        default=365, description="Dates of a patient are moved by one secret number of days, up to this many back"
    )
    max_age: Annotated[int, Field(ge=18, le=120)] = Field(default=89, description="Older patients are given this age")
    descriptors: tuple[str, ...] = Field(
        default=(), description="Words that descriptions may keep, besides the list that radfed brings"
    )
    ocr: bool | None = Field(
        default=None, description="Look for text in pixels with Tesseract. Not set: where it is installed"
    )
    allow_secondary_capture: bool = Field(
        default=False, description="Take secondary captures if no text is found in them; needs ocr"
    )
