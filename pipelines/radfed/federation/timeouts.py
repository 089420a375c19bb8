"""Timeouts of a site's job processes: FLARE reads them from the job or from the environment, and jobs set none."""

import os

from nvflare.apis.fl_component import FLComponent


class SiteTimeouts(FLComponent):  # type: ignore[misc] # nvflare has no types
    """Puts a site's timeouts where FLARE looks for them; built from the kit's ``local/radfed__resources.json``.

    FLARE builds it in the client's own process and again in the process of each job, before either reads a timeout.
    What is exported in the shell that starts the client comes first.

    Args:
        seconds: FLARE's names for timeouts, and their seconds.
    """

    def __init__(self, seconds: dict[str, float]) -> None:
        super().__init__()
        for name, value in seconds.items():
            os.environ.setdefault(f"NVFLARE_{name.upper()}", f"{value:g}")
