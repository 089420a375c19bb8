"""What a federation of one machine needs around FLARE's provisioning: a project, free ports, a quick first start."""

import os
import socket
from collections.abc import Sequence
from pathlib import Path

import yaml

from radfed.federation.provisioning_project import loopback_project

ENGINEER = "engineer@radfed.test"
ADMINISTRATOR = "admin@radfed.test"


def project(name: str, host: str, port: int, probe_port: int, sites: Sequence[str], changes: Path | None = None) -> str:
    """radfed's project file for one machine, with a server that is called ``host`` by its sites.

    Args:
        name: of the federation.
        host: name or address of the server.
        port: of the server.
        probe_port: of its health probe.
        sites: names.
        changes: folder with the federation's own changes to the policies, as ``site_configs/``.
    """
    content = yaml.safe_load(loopback_project(name, sites, port=port, probe_port=probe_port, lead=ENGINEER))
    if changes is not None:
        [policies] = [b for b in content["builders"] if b["path"].endswith("SitePolicyBuilder")]
        policies["args"]["site_configs"] = str(changes)
    if host != "localhost":
        [server] = [p for p in content["participants"] if p["type"] == "server"]
        server.update({"name": host, "default_host": host, "host_names": [host]})
    return str(yaml.safe_dump(content, sort_keys=False))


def free_port(host: str = "127.0.0.1") -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind((host, 0))
        port: int = probe.getsockname()[1]
        return port


def listens(host: str, port: int) -> bool:
    """Whether somebody accepts connections."""
    try:
        with socket.create_connection((host, port), timeout=1):
            return True
    except OSError:
        return False


def quick_sleep(folder: Path) -> Path:
    """A folder for ``PATH`` with a ``sleep`` whose first call of each participant is short.

    FLARE's start script sleeps 5 s before it starts anything. Restarts still wait the full time.
    """
    folder.mkdir(parents=True, exist_ok=True)
    script = folder / "sleep"
    if not script.exists():
        beside = folder / ".sleep.partial"
        beside.write_text(
            '#!/bin/sh\nmkdir "$TMPDIR/started" 2>/dev/null && exec /bin/sleep 0.1\nexec /bin/sleep "$@"\n'
        )
        beside.chmod(0o755)
        os.replace(beside, script)
    return folder
