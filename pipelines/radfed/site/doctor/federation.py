"""Where the kit says the server is, and which versions it was made with."""

import json
from pathlib import Path

from pydantic import ConfigDict, ValidationError

from radfed.errors import InvalidInputError
from radfed.settings import Settings
from radfed.site.kit import read_identity

_FILE = "local/federation.json"


class Federation(Settings):
    """A federation as the kit knows it. Kits that stock FLARE made know neither probe nor versions."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    federation: str
    server: str
    server_identity: str
    port: int
    probe_port: int | None = None
    radfed: str | None = None
    nvflare: str | None = None


def read_federation(kit: Path) -> Federation:
    """Read ``local/federation.json``, or what FLARE's own files say where it is missing.

    Raises:
        InvalidInputError: the folder is no client's kit, or the file says something unusable.
    """
    identity = read_identity(kit)
    file = kit / _FILE
    if not file.is_file():
        return Federation(
            federation=identity.federation,
            server=identity.host,
            server_identity=identity.identity,
            port=identity.port,
        )
    try:
        return Federation.model_validate(json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError, ValidationError) as error:
        raise InvalidInputError(
            f"{_FILE}: is not what provisioning wrote ({type(error).__name__}); unpack the startup kit again"
        ) from error
