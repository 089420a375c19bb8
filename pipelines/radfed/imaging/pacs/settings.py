"""How a site reaches its PACS."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from radfed.settings import Settings


class PacsSettings(Settings):
    """Names, limits and patience. Credentials are never in here: they come from the environment or a 0600 file."""

    ae_title: Annotated[str, Field(min_length=1, max_length=16)] = Field(
        default="RADFED", description="Our AE title, as the PACS knows it"
    )
    port: Annotated[int, Field(ge=1, le=65535)] = Field(
        default=11112, description="Port of our storage SCP, to which the PACS sends after C-MOVE"
    )
    bind: str = Field(
        default="127.0.0.1",
        min_length=1,
        description="Address that our storage SCP listens on; one that the PACS reaches, 0.0.0.0 for all",
    )
    retrieve: Literal["get", "move"] = Field(default="get", description="C-GET, or C-MOVE into our storage SCP")
    ca_file: Path | None = Field(default=None, description="PEM of the authority that the PACS's TLS certificate has")
    certificate: Path | None = Field(default=None, description="PEM of our own TLS certificate, if the PACS asks")
    key: Path | None = Field(default=None, description="PEM of its key, mode 0600")
    credentials: Path | None = Field(
        default=None, description="File of mode 0600 with user:password, or token:TOKEN. Before it, RADFED_PACS_* count"
    )
    retries: Annotated[int, Field(ge=0, le=20)] = Field(default=5, description="Tries after a failure, with backoff")
    timeout: Annotated[float, Field(gt=0)] = Field(default=60.0, description="Of one request (s)")
    max_mbit: Annotated[float, Field(gt=0)] | None = Field(
        default=None, description="Largest mean rate of retrieval (Mbit/s); as fast as it goes if empty"
    )
    min_free_gb: Annotated[float, Field(ge=0)] = Field(
        default=5.0, description="Retrieval stops before the disk has less room than this (GB)"
    )
    page: Annotated[int, Field(ge=1)] = Field(default=100, description="Answers of a query in one page")
