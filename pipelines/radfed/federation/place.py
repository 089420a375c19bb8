"""Where a FLARE client finds its own site's settings: on the site's machine, never in the job."""

import os
from pathlib import Path

from radfed.site.config import SiteSettings, read_site
from radfed.site.kit import read_kit_link

SITE_FILE = "RADFED_SITE"
SITES_FOLDER = "RADFED_SITES"
CAMPAIGNS = "RADFED_CAMPAIGNS"


def site_folder(name: str, workspace: Path) -> Path:
    """The folder of the site called ``name``.

    Raises:
        InvalidInputError: nothing says which it is.
    """
    place = _site_place(name, workspace)
    return place if place.is_dir() else place.parent


def _site_place(name: str, workspace: Path) -> Path:
    """The folder of the site called ``name``, or its ``site.yaml``.

    ``RADFED_SITE`` names the file of a real site; in a simulation, where all sites share one machine,
    ``RADFED_SITES`` names a folder with ``<site>/site.yaml`` for each. Without either, the startup kit says it.

    Raises:
        InvalidInputError: neither is set, and the kit has no site.
    """
    if SITE_FILE in os.environ:
        return Path(os.environ[SITE_FILE])
    if SITES_FOLDER in os.environ:
        return Path(os.environ[SITES_FOLDER]) / name
    return read_kit_link(workspace)


def campaigns_folder(workspace: Path) -> Path:
    """Where a participant keeps what one FLARE job of a campaign leaves to the next.

    ``campaigns/`` in its workspace, or the folder that ``RADFED_CAMPAIGNS`` names: in a container the workspace may
    end with the job.
    """
    return Path(os.environ.get(CAMPAIGNS, workspace / "campaigns"))


def site_settings(name: str, workspace: Path) -> SiteSettings:
    """The settings of the site called ``name``.

    Raises:
        InvalidInputError: there is no site, or its file cannot be read.
    """
    return read_site(_site_place(name, workspace))
