"""The link between a startup kit and the site's own folder: each knows the other."""

import json
from dataclasses import dataclass
from pathlib import Path

import yaml

from radfed.errors import InvalidInputError
from radfed.files import put_text
from radfed.site.config import SITE_FILE, SiteSettings, read_site

LINK_FILE = "local/radfed.json"
CLIENT_FILE = "startup/fed_client.json"


@dataclass(frozen=True)
class KitIdentity:
    """What a client's startup kit says of itself, in FLARE's ``startup/fed_client.json``.

    Attributes:
        federation: name of the federation.
        site: name of the site.
        host: the server as the client reaches it.
        port: the server's port.
        identity: the name in the server's certificate.
    """

    federation: str
    site: str
    host: str
    port: int
    identity: str


def read_kit_link(kit: Path) -> Path:
    """The site's folder that a startup kit belongs to.

    Raises:
        InvalidInputError: the kit is linked to no site, or the link says nothing usable.
    """
    link = kit / LINK_FILE
    try:
        content = json.loads(link.read_text(encoding="utf-8"))
        folder = Path(content["site"])
    except FileNotFoundError as error:
        raise InvalidInputError(
            f"{kit}: is linked to no site; run: radfed site init DIR --kit KIT (for a site that is there too)"
        ) from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InvalidInputError(
            f"{link}: must be a JSON object with the key 'site'; write it again with radfed site init DIR --kit KIT"
        ) from error
    if not (folder / SITE_FILE).is_file():
        raise InvalidInputError(
            f"{link}: names a folder that holds no {SITE_FILE}; link the kit again with radfed site init DIR --kit KIT"
        )
    return folder


def write_kit_link(kit: Path, site_folder: Path) -> None:
    """Link a startup kit and a site both ways: ``local/radfed.json`` in the kit, ``kit`` in ``site.yaml``.

    Raises:
        InvalidInputError: the folder is no client's kit, the site has no ``site.yaml``, or their names differ.
    """
    identity, settings = read_identity(kit), read_site(site_folder)
    if identity.site != settings.name:
        raise InvalidInputError(
            f"{site_folder / SITE_FILE}: name is {settings.name!r}, but the kit is that of {identity.site!r}; "
            "take the kit of this site, or set the name in site.yaml"
        )
    _name_kit(site_folder / SITE_FILE, kit.resolve())
    link = kit / LINK_FILE
    link.parent.mkdir(exist_ok=True)
    put_text(link, json.dumps({"site": str(site_folder.resolve())}, indent=2) + "\n")


def read_identity(kit: Path) -> KitIdentity:
    """What a client's startup kit says of itself.

    Raises:
        InvalidInputError: the folder is no client's startup kit.
    """
    file = kit / CLIENT_FILE
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        server, client = content["servers"][0], content["client"]
        host, _, port = server["service"]["target"].rpartition(":")
        # A site behind a relay is called relay.site.
        site = client["fqsn"].rpartition(".")[2]
        return KitIdentity(server["name"], site, host, int(port), server["identity"])
    except (OSError, ValueError, KeyError, IndexError, TypeError) as error:
        raise InvalidInputError(
            f"{kit}: is no startup kit of a client ({CLIENT_FILE}: {type(error).__name__}); "
            "give the folder that holds startup/ and local/"
        ) from error


def _name_kit(file: Path, kit: Path) -> None:
    """Set the key ``kit`` in ``site.yaml``; all other lines, comments too, stay as the site wrote them."""
    lines = file.read_text(encoding="utf-8").splitlines()
    line = yaml.safe_dump({"kit": str(kit)}, allow_unicode=True, width=2**16).rstrip("\n")
    at = next((index for index, old in enumerate(lines) if old.startswith("kit:")), None)
    changed = [*lines, line] if at is None else [*lines[:at], line, *lines[at + 1 :]]
    text = "\n".join(changed) + "\n"
    SiteSettings.parse(text, source=str(file))
    put_text(file, text)
