"""What a listener takes and when it begins."""

from typing import Annotated

from pydantic import Field

from radfed.settings import Settings

AeTitle = Annotated[str, Field(pattern=r"^[\x20-\x5b\x5d-\x7e]{1,16}$")]


class ListenSettings(Settings):
    """Limits and patience of ``radfed predict --listen``."""

    quiet: Annotated[float, Field(gt=0, le=3600)] = Field(
        default=10.0, description="A study is complete when nothing of it came for so long (s)"
    )
    accept: tuple[AeTitle, ...] = Field(default=(), description="AE titles that may send; any if empty")
    max_associations: Annotated[int, Field(ge=1, le=1000)] = Field(
        default=10, description="Associations at one time; more are told to come again"
    )
    max_pdu: Annotated[int, Field(ge=4096, le=2**24)] = Field(
        default=2**18, description="Largest protocol data unit that is taken (bytes)"
    )
    max_study_gb: Annotated[float, Field(gt=0)] = Field(
        default=8.0, description="A study that is larger is refused as a whole (GB)"
    )
    keep_hours: Annotated[float, Field(ge=0)] = Field(
        default=72.0, description="Images of a study that is done or failed are removed after so long"
    )
    tries: Annotated[int, Field(ge=1, le=20)] = Field(
        default=4, description="A study during which the program died so many times is not begun again"
    )
