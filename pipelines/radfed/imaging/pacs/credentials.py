"""What a site shows its PACS to be let in, from the environment or a file that only its owner can read."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from radfed.errors import GateError, InvalidInputError
from radfed.imaging.pacs.settings import PacsSettings

USER, PASSWORD, TOKEN = "RADFED_PACS_USER", "RADFED_PACS_PASSWORD", "RADFED_PACS_TOKEN"


@dataclass(frozen=True)
class Credentials:
    """Either a user with a password (HTTP Basic) or a token (HTTP Bearer)."""

    user: str = field(default="", repr=False)
    password: str = field(default="", repr=False)
    token: str = field(default="", repr=False)


def find_credentials(settings: PacsSettings, environment: Mapping[str, str] = os.environ) -> Credentials | None:
    """Credentials from the environment, else from the settings' file, else none.

    Raises:
        InvalidInputError: only half of them is there, both kinds are, or the file is not as it should be.
        GateError: others can read the file.
    """
    user, password, token = (environment.get(name, "") for name in (USER, PASSWORD, TOKEN))
    if token and (user or password):
        raise InvalidInputError(
            f"{TOKEN} and {USER} or {PASSWORD} are all set; the PACS wants one kind: unset the other"
        )
    if bool(user) != bool(password):
        raise InvalidInputError(f"{USER} and {PASSWORD} belong together, but only one of them is set")
    if token:
        return Credentials(token=_sendable(token))
    if user:
        return Credentials(user=user, password=password)
    return _from_file(settings.credentials) if settings.credentials else None


def _from_file(path: Path) -> Credentials:
    lines = [line for line in read_private(path).splitlines() if line.strip()]
    name, colon, secret = lines[0].partition(":") if len(lines) == 1 else ("", "", "")
    if not (name and colon and secret):
        raise InvalidInputError(f"{path}: must hold one line, user:password or token:TOKEN")
    return Credentials(token=_sendable(secret.strip())) if name == "token" else Credentials(user=name, password=secret)


def _sendable(token: str) -> str:
    if not token.isascii() or not token.isprintable() or " " in token:
        raise InvalidInputError("the PACS token holds blanks, control characters or non-ASCII letters; copy it again")
    return token


def read_private(path: Path) -> str:
    """Text of a file that only its owner may read.

    Raises:
        InvalidInputError: the file cannot be read as text.
        GateError: group or others have rights on it.
    """
    try:
        with path.open(encoding="utf-8") as stream:
            mode = os.fstat(stream.fileno()).st_mode  # of what is read, whatever the path means a moment later
            text = stream.read()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInputError(f"{path}: cannot be read as text ({type(error).__name__})") from error
    if mode & 0o077:
        raise GateError(f"{path}: others can read this secret (mode {mode & 0o777:04o}); run chmod 600 on it")
    return text
