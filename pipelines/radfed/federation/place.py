"""Where a FLARE client finds its own site's settings: on the site's machine, never in the job."""

import os
from pathlib import Path

from radfed.errors import InvalidInputError
from radfed.site.config import SiteSettings, read_site

SITE_FILE = "RADFED_SITE"
SITES_FOLDER = "RADFED_SITES"


def site_settings(name: str) -> SiteSettings:
    """The settings of the site called ``name``.

    ``RADFED_SITE`` names the file of a real site; in a simulation, where all sites share one machine,
    ``RADFED_SITES`` names a folder with ``<site>/site.yaml`` for each.

    Raises:
        InvalidInputError: neither is set, or the file cannot be read.
    """
    if SITE_FILE in os.environ:
        return read_site(Path(os.environ[SITE_FILE]))
    if SITES_FOLDER in os.environ:
        return read_site(Path(os.environ[SITES_FOLDER]) / name / "site.yaml")
    raise InvalidInputError(f"{name}: set {SITE_FILE} to this site's site.yaml; 'radfed site init' writes one")
