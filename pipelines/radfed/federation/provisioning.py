"""Startup kits that carry radfed's policies: a builder for ``nvflare provision``, and the same for a finished kit.

``python -m radfed.federation.provisioning KIT`` gives the policies to a kit that ``nvflare package`` has assembled.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import nvflare
from nvflare.lighter.spec import Builder, Project, ProvisionContext

import radfed
from radfed.errors import InvalidInputError, RadfedError
from radfed.federation.provisioning_changes import check, merge
from radfed.federation.provisioning_policies import Json, server_policies, site_policies
from radfed.federation.provisioning_project import loopback_project
from radfed.files import put_bytes

__all__ = ["SitePolicyBuilder", "equip", "loopback_project"]

FEDERATION_FILE = "federation.json"
DEFAULT_PROBE_PORT = 8003
_SERVER_FILE, _SITE_FILE = "fed_server.json", "fed_client.json"


class SitePolicyBuilder(Builder):  # type: ignore[misc] # nvflare has no types
    """Puts radfed's policies into the kits of the server and of every site. Stands behind ``CertBuilder``.

    Args:
        probe_port: TCP port of the server's health probe.
        site_configs: folder with a federation's own changes, ``<default|server|name>/local/*.json``; if relative,
            from the project file's folder. None: no changes.
    """

    def __init__(self, probe_port: int = DEFAULT_PROBE_PORT, site_configs: str | None = None) -> None:
        self._probe_port = probe_port
        self._changes = _project_folder() / site_configs if site_configs else None

    def build(self, project: Project, ctx: ProvisionContext) -> None:
        """Equip the kits; FLARE's other builders have written their ``startup/`` by now."""
        # FLARE keeps the authority's private key and all others there, for everyone on the machine to read.
        Path(ctx.get_state_dir()).chmod(0o700)
        for participant in (project.get_server(), *project.get_clients()):
            equip(Path(ctx.get_ws_dir(participant)), self._probe_port, self._changes)


def equip(kit: Path, probe_port: int = DEFAULT_PROBE_PORT, changes: Path | None = None) -> None:
    """Write radfed's policies into a kit's ``local/``, and take FLARE's looser defaults away.

    Args:
        kit: startup kit of the server or of a site.
        probe_port: TCP port of the server's health probe.
        changes: folder with ``default/local/`` for all sites, ``server/local/`` for the server, and ``<name>/local/``
            for the participant of that name; JSON files there are laid over radfed's own, others are copied.

    Raises:
        InvalidInputError: the folder is no kit, a file of ``changes`` is no JSON, or a change opened a door.
    """
    facts = read_federation(kit, probe_port)
    is_server = (kit / "startup" / _SERVER_FILE).is_file()
    name = str(facts["participant"])
    policies = server_policies(probe_port) if is_server else site_policies()
    copies: dict[str, bytes] = {}
    for layer in ("server" if is_server else "default", name):
        for path in sorted((changes / layer / "local").iterdir()) if changes and _has(changes, layer) else ():
            if path.suffix == ".json":
                policies[path.name] = _changed(policies.get(path.name, {}), path)
            elif path.is_file():
                copies[path.name] = path.read_bytes()
    check(policies, f"policies of {name}")
    local = kit / "local"
    for loose in [*local.glob("*.default"), *local.glob("*.sample")]:
        loose.unlink()
    for file, content in (policies | {FEDERATION_FILE: facts}).items():
        _write(local / file, json.dumps(content, indent=2).encode() + b"\n")
    for file, data in copies.items():
        _write(local / file, data)


def read_federation(kit: Path, probe_port: int = DEFAULT_PROBE_PORT) -> dict[str, Json]:
    """What ``federation.json`` says, from the files that FLARE put into a kit's ``startup/``.

    Raises:
        InvalidInputError: the folder is no startup kit of a server or a site.
    """
    startup = kit / "startup"
    path = next((startup / name for name in (_SERVER_FILE, _SITE_FILE) if (startup / name).is_file()), None)
    if path is None:
        raise InvalidInputError(
            f"{kit}: no startup kit of a server or a site; give the folder that holds startup/{_SITE_FILE}"
        )
    content = json.loads(path.read_text(encoding="utf-8"))
    server = content["servers"][0]
    host, port = server["service"]["target"].rsplit(":", 1)
    is_server = path.name == _SERVER_FILE
    return {
        "federation": server["name"],
        "participant": server["admin_server"] if is_server else content["client"]["fqsn"].rsplit(".", 1)[-1],
        "server": host,
        "server_identity": server["admin_server"] if is_server else server["identity"],
        "port": int(port),
        "probe_port": probe_port,
        "radfed": radfed.__version__,
        "nvflare": nvflare.__version__,
    }


def _has(changes: Path, layer: str) -> bool:
    return (changes / layer / "local").is_dir()


def _changed(base: dict[str, Json], path: Path) -> dict[str, Json]:
    try:
        change = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InvalidInputError(f"{path}: is no JSON file: {error}") from error
    if not isinstance(change, dict):
        raise InvalidInputError(f"{path}: must be a JSON mapping, got {type(change).__name__}")
    merged = merge(base, change)
    assert isinstance(merged, dict)
    return merged


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    put_bytes(path, content)


def _project_folder() -> Path:
    """The folder of the project file on FLARE's command line; FLARE tells its builders nothing of it."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("-p", "--project-file", "--project_file", type=Path)
    project: Path | None = parser.parse_known_args()[0].project_file if "provision" in sys.argv else None
    return project.absolute().parent if project else Path.cwd()


def main(arguments: Sequence[str] | None = None) -> int:
    """Equip a kit from the command line.

    Returns:
        The exit code.
    """
    parser = argparse.ArgumentParser(prog="python -m radfed.federation.provisioning", description=equip.__doc__)
    parser.add_argument("kit", type=Path, help="folder of the startup kit")
    parser.add_argument("--site-configs", type=Path, help="folder with this federation's own changes")
    parser.add_argument("--probe-port", type=int, default=DEFAULT_PROBE_PORT)
    given = parser.parse_args(arguments)
    try:
        equip(given.kit, given.probe_port, given.site_configs)
    except RadfedError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    print(f"{given.kit}: carries radfed's policies")
    return 0


if __name__ == "__main__":
    sys.exit(main())
