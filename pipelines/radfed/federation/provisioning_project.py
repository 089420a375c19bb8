"""The project file that ``nvflare provision`` reads, for a federation on one machine."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml

CERTIFICATE_DAYS = 3650
"""Days that a federation's certificate authority lasts. FLARE's default, 360, would end every kit with it."""


def builder_list(probe_port: int, site_configs: Path | None = None) -> list[dict[str, object]]:
    """FLARE's own builders, and radfed's for the policies; the same in every project file.

    Args:
        probe_port: TCP port of the server's health probe.
        site_configs: folder with a federation's own changes to the policies.
    """
    arguments: dict[str, object] = {"probe_port": probe_port}
    if site_configs is not None:
        arguments["site_configs"] = str(site_configs)
    return [
        {
            "path": "nvflare.lighter.impl.workspace.WorkspaceBuilder",
            "args": {"template_file": ["master_template.yml"]},
        },
        {"path": "nvflare.lighter.impl.static_file.StaticFileBuilder", "args": {"config_folder": "config"}},
        {"path": "nvflare.lighter.impl.cert.CertBuilder", "args": {"root_valid_days": CERTIFICATE_DAYS}},
        {"path": "radfed.federation.provisioning.SitePolicyBuilder", "args": arguments},
        {"path": "nvflare.lighter.impl.signature.SignatureBuilder"},
    ]


def loopback_project(
    name: str, sites: Sequence[str], *, port: int, probe_port: int, lead: str = "engineer@radfed.test"
) -> str:
    """A project file for a federation whose server and sites are processes of one machine.

    Args:
        name: the federation's name.
        sites: names of its sites.
        port: TCP port of the FLARE server, for sites and admins alike.
        probe_port: TCP port of the health probe.
        lead: admin who may submit jobs; ``admin@radfed.test`` is the project admin.

    Returns:
        YAML text for ``nvflare provision -p``.
    """
    server = {
        "name": "localhost",
        "type": "server",
        "org": "radfed",
        "fed_learn_port": port,
        "default_host": "localhost",
        "host_names": ["127.0.0.1"],
    }
    clients: list[Mapping[str, object]] = [{"name": site, "type": "client", "org": "radfed"} for site in sites]
    admins: list[Mapping[str, object]] = [
        {"name": "admin@radfed.test", "type": "admin", "org": "radfed", "role": "project_admin"},
        {"name": lead, "type": "admin", "org": "radfed", "role": "lead"},
    ]
    project = {
        "api_version": 3,
        "name": name,
        "description": "A federation on one machine",
        "allow_log_streaming": False,
        "participants": [server, *clients, *admins],
        "builders": builder_list(probe_port),
    }
    return yaml.safe_dump(project, sort_keys=False)
