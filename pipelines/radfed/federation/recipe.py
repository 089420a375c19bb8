"""From a job's settings to a FLARE job: a controller, an executor, one settings file, and an empty ``custom/``."""

import tempfile
from pathlib import Path

from nvflare.app_common.app_constant import StatisticsConstants
from nvflare.job_config.api import FedJob
from nvflare.recipe.spec import Recipe

from radfed.federation.controller import FederatedAveraging
from radfed.federation.executor import SiteExecutor
from radfed.federation.messages import ASK, TASKS
from radfed.federation.question_controller import QuestionController
from radfed.federation.question_executor import QuestionExecutor
from radfed.federation.statistics import FingerprintExecutor
from radfed.federation.statistics_controller import FingerprintController
from radfed.job import QUESTIONS, SETTINGS_FILE, Job

ALLOWED_CLASSES = tuple(
    f"{found.__module__}.{found.__name__}"
    for found in (
        FederatedAveraging, SiteExecutor, FingerprintController, FingerprintExecutor, QuestionController,
        QuestionExecutor,
    )
)  # fmt: skip
"""All that a site's ``class_allow_list`` needs to hold."""

# Seconds between a client's questions for work; FLARE's default of 2 costs that much in every round.
_POLL = 0.1


class CodelessRecipe(Recipe):  # type: ignore[misc] # nvflare has no types
    """A FLARE recipe whose job names two classes of radfed and carries no code.

    Args:
        job: what to run.
        scratch: a folder that outlives the recipe; FLARE copies the settings file from there.
    """

    def __init__(self, job: Job, scratch: Path) -> None:
        flare = FedJob(name=job.job.name, min_clients=job.job.federation.min_sites)
        # radfed is installed at every site: its modules are not to be copied into custom/.
        flare.job.set_app_packages(["radfed"])
        if job.purpose == "fingerprint":
            flare.to_server(FingerprintController())
            flare.to_clients(FingerprintExecutor(), tasks=[StatisticsConstants.FED_STATS_TASK])
        elif job.purpose in QUESTIONS:
            flare.to_server(QuestionController())
            flare.to_clients(QuestionExecutor(), tasks=[ASK])
        else:
            flare.to_server(FederatedAveraging(persistor_id=""))
            flare.to_clients(SiteExecutor(), tasks=list(TASKS))
        settings = scratch / SETTINGS_FILE
        job.write_json(settings)
        flare.add_file_to_server(str(settings), app_folder_type="config")
        flare.add_file_to_clients(str(settings), app_folder_type="config")
        super().__init__(flare)
        self.add_server_config({"server": {"task_request_interval": _POLL}})
        self.add_client_config({"default_task_fetch_interval": _POLL})


def export_job(job: Job, out: Path) -> Path:
    """Write ``out/<job name>``, which FLARE's own admin console accepts.

    Returns:
        The job's folder.
    """
    with tempfile.TemporaryDirectory() as scratch:
        CodelessRecipe(job, Path(scratch)).export(str(out))
    # No custom/, not even an empty one: FLARE's console signs every folder, and takes the signature there for code.
    for custom in (out / job.job.name).glob("app*/custom"):
        custom.rmdir()
    return out / job.job.name
