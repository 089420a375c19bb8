"""Write derived timeouts into the files of a startup kit in which FLARE reads them; a site's other keys stay.

FLARE's client merges every ``local/*__resources.json`` into its configuration, in its own process and in the process
of each job, and reads ``local/comm_config.json`` for the link. Timeouts of a job's process are read from the job or
from the environment; jobs of radfed set none, and a component of the site's own puts them into the environment.
"""

import json
from pathlib import Path
from typing import Any

from radfed.errors import InvalidInputError
from radfed.files import put_text
from radfed.site.timeouts import Place, Timeouts

RESOURCES = "local/radfed__resources.json"
LINK = "local/comm_config.json"
COMPONENT_ID = "site_timeouts"
COMPONENT_PATH = "radfed.federation.timeouts.SiteTimeouts"


def write_timeouts(kit: Path, timeouts: Timeouts) -> tuple[Path, ...]:
    """Set the site's timeouts.

    Returns:
        The files that changed; none if all stood there already.

    Raises:
        InvalidInputError: a file is there and is no JSON object.
    """
    resources, link = _read(kit / RESOURCES), _read(kit / LINK)
    resources.setdefault("client", {}).update(timeouts.of(Place.CLIENT))
    component = {"id": COMPONENT_ID, "path": COMPONENT_PATH, "args": {"seconds": timeouts.of(Place.VARIABLE)}}
    others = [other for other in resources.get("components", []) if other.get("id") != COMPONENT_ID]
    resources["components"] = [*others, component]
    link.update(_whole(timeouts.of(Place.LINK)))
    return tuple(path for path, content in ((kit / RESOURCES, resources), (kit / LINK, link)) if _write(path, content))


def overruled(kit: Path, timeouts: Timeouts) -> dict[str, float]:
    """What the site set by hand, and shorter, in ``resources.json``: FLARE takes that before what is written here."""
    by_hand: dict[str, Any] = {}
    for name in ("local/resources.json", "local/resources.json.default"):
        if (kit / name).is_file():
            by_hand = _read(kit / name).get("client", {})
            break
    wanted = timeouts.of(Place.CLIENT)
    return {name: by_hand[name] for name, seconds in wanted.items() if name in by_hand and by_hand[name] < seconds}


def _whole(values: dict[str, float]) -> dict[str, float | int]:
    """FLARE turns some of these into integers; all of ours are whole seconds."""
    return {name: int(value) if value == int(value) else value for name, value in values.items()}


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InvalidInputError(
            f"{path}: is no readable JSON ({type(error).__name__}); mend it or take it away"
        ) from error
    if not isinstance(content, dict):
        raise InvalidInputError(f"{path}: must be a JSON object, got {type(content).__name__}")
    return content


def _write(path: Path, content: dict[str, Any]) -> bool:
    text = json.dumps(content, indent=2) + "\n"
    if path.is_file() and path.read_text(encoding="utf-8") == text:
        return False
    path.parent.mkdir(exist_ok=True)
    put_text(path, text)
    return True
