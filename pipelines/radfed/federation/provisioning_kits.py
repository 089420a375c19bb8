"""The life of startup kits, for the operator: when they expire, which certificate they hold, how one is renewed."""

import json
import os
import re
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from cryptography import x509

from radfed.errors import InvalidInputError
from radfed.federation.revocation import serial_of

_CERTIFICATES = ("server.crt", "client.crt")
_STATE = Path("state") / "cert.json"


@dataclass(frozen=True)
class Kit:
    """A startup kit and its certificate.

    Attributes:
        participant: name in the certificate: of the server, a site or an admin.
        folder: the kit.
        not_after: when the certificate expires, in UTC.
        serial: the certificate's serial number, in hexadecimal.
    """

    participant: str
    folder: Path
    not_after: datetime
    serial: str


def read_kit(folder: Path) -> Kit:
    """Read a startup kit's certificate.

    Raises:
        InvalidInputError: the folder is no startup kit, or its certificate cannot be read.
    """
    path = next((folder / "startup" / name for name in _CERTIFICATES if (folder / "startup" / name).is_file()), None)
    if path is None:
        raise InvalidInputError(f"{folder}: no startup kit; give a folder that holds startup/ with a certificate")
    content = path.read_bytes()
    try:
        certificate = x509.load_pem_x509_certificates(content)[0]
        name = certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)[0].value
    except (ValueError, IndexError) as error:
        raise InvalidInputError(f"{path}: is no certificate; take the kit anew") from error
    return Kit(str(name), folder, certificate.not_valid_after_utc, serial_of(content))


def find_kits(folder: Path) -> list[Kit]:
    """The kits at or below a folder, for each participant of a project the newest one.

    ``nvflare provision`` writes all kits again each time, into ``prod_00``, ``prod_01`` and so on.

    Args:
        folder: a kit, a ``prod_NN`` folder, a project, or a provisioning workspace.

    Returns:
        The kits, by project and participant.

    Raises:
        InvalidInputError: there is none, or a certificate cannot be read.
    """
    startups = {path.parent for name in _CERTIFICATES for path in folder.rglob(f"startup/{name}")}
    newest: dict[tuple[Path, str], tuple[int, Kit]] = {}
    for startup in sorted(startups):
        kit = read_kit(startup.parent)
        round_of = re.fullmatch(r"prod_(\d+)", kit.folder.parent.name)
        stage = int(round_of[1]) if round_of else -1
        project = kit.folder.parent.parent if round_of else kit.folder.parent
        key = (project, kit.participant)
        if key not in newest or stage > newest[key][0]:
            newest[key] = (stage, kit)
    if not newest:
        raise InvalidInputError(f"{folder}: holds no startup kit; give a kit or what 'nvflare provision -w' wrote")
    return [newest[key][1] for key in sorted(newest)]


def kit_expiry(folder: Path) -> list[tuple[str, datetime]]:
    """When the kits at or below a folder expire: participant and time in UTC, the first to expire first.

    Raises:
        InvalidInputError: there is no kit, or a certificate cannot be read.
    """
    return sorted(((kit.participant, kit.not_after) for kit in find_kits(folder)), key=lambda entry: entry[1])


def forget_certificate(project: Path, participant: str) -> None:
    """Let the next ``nvflare provision`` give a participant a new key and certificate; all others keep theirs.

    Args:
        project: the project's folder in the provisioning workspace, with ``state/``.
        participant: name of the server, a site or an admin.

    Raises:
        InvalidInputError: the project has no such participant, or keeps no state.
    """
    path = project / _STATE
    if not path.is_file():
        raise InvalidInputError(f"{project}: holds no {_STATE}; give WORKSPACE/PROJECT of 'nvflare provision -w'")
    content = json.loads(path.read_text(encoding="utf-8"))
    names = sorted(name for name, value in content.items() if isinstance(value, dict))
    if participant not in names:
        raise InvalidInputError(f"{participant!r}: no participant of {project}; there are: {', '.join(names)}")
    del content[participant]
    part = path.with_name(path.name + ".part")
    part.touch(mode=0o600)
    part.write_text(json.dumps(content), encoding="utf-8")
    os.replace(part, path)
