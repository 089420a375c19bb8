"""Trees of several sites by FLARE's own XGBoost recipe: in each round every site adds a tree to all those before.

The recipe's trees are grown on a site's own cases, from what all trees so far say of them, and travel as XGBoost's
JSON in a message of FLARE's own format; nothing is pickled. FLARE's other recipe, on histograms, would give the trees
of pooled data, but needs XGBoost built with its federated communication, which its small builds are not.
"""

import json
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nvflare.apis.event_type import EventType
from nvflare.apis.fl_component import FLComponent
from nvflare.apis.fl_context import FLContext
from nvflare.app_common.widgets.metrics_artifact_writer import MetricsArtifactWriter
from nvflare.app_common.workflows.scatter_and_gather import ScatterAndGather
from nvflare.app_opt.xgboost.data_loader import XGBDataLoader
from nvflare.app_opt.xgboost.recipes import XGBBaggingRecipe
from nvflare.app_opt.xgboost.tree_based.bagging_aggregator import XGBBaggingAggregator
from nvflare.app_opt.xgboost.tree_based.executor import FedXGBTreeExecutor
from nvflare.app_opt.xgboost.tree_based.model_persistor import XGBModelPersistor
from nvflare.app_opt.xgboost.tree_based.shareable_generator import XGBModelShareableGenerator
from nvflare.job_config.api import FedJob
from nvflare.recipe import SimEnv, set_per_site_config
from xgboost import DMatrix

from radfed.dataset.layout import Dataset
from radfed.errors import FederationError, InvalidInputError
from radfed.federation.place import site_settings
from radfed.federation.simulate import last_error, simulator, write_sites
from radfed.job import SETTINGS_FILE, Job, TreeSettings
from radfed.task import OutcomeTask
from radfed.training.outcome_samples import load_outcome_samples
from radfed.training.trees import tree_data

LOG = "trees.log"

_LOOK, _POLL = 0.25, 0.1
_JOB, _MODEL = "job.json", "xgboost_model.json"
# The recipe of FLARE 2.9 loses the learning rate on its way to a site, where the executor's own default stands. The
# scale of a site arrives, so all of the rate is in there.
_FLARES_RATE = 0.1


class SiteRecords(XGBDataLoader, FLComponent):  # type: ignore[misc] # nvflare has no types
    """The training cases of the site that it runs at: the job's task says how, the site's own settings say which."""

    def __init__(self) -> None:
        FLComponent.__init__(self)

    def handle_event(self, event_type: str, fl_ctx: FLContext) -> None:
        """Find the job and the site's workspace before FLARE's executor asks for data."""
        if event_type == EventType.ABOUT_TO_START_RUN:
            workspace = fl_ctx.get_engine().get_workspace()
            self._job = Job.read_json(Path(workspace.get_app_config_dir(fl_ctx.get_job_id())) / SETTINGS_FILE)
            self._root = Path(workspace.get_root_dir())

    def load_data(self) -> tuple[DMatrix, DMatrix]:
        """Training cases, twice: FLARE logs a metric of the second, by which nothing is chosen."""
        task = self._job.task
        assert isinstance(task, OutcomeTask)  # the recipe was made for one
        data = tree_data(load_outcome_samples(_dataset(self.client_id, self._root), "training", task), task)
        return data, data


class TreeRecipe(XGBBaggingRecipe):  # type: ignore[misc] # nvflare has no types
    """FLARE's recipe with radfed's data loader, and no code in the job.

    Args:
        job: of a task of records with classes.
        cases: training cases of each site, which weigh its trees as they weigh its updates of a network.
        scratch: a folder that outlives the recipe; FLARE copies the settings file from there.
    """

    def __init__(self, job: Job, cases: Mapping[str, int], scratch: Path) -> None:
        trees = job.job.trees or TreeSettings()
        self._settings = scratch / SETTINGS_FILE
        job.write_json(self._settings)
        self._sites = tuple(cases)
        super().__init__(
            name=job.job.name,
            min_clients=len(cases),
            num_rounds=trees.rounds,
            max_depth=trees.depth,
            learning_rate=_FLARES_RATE,
            local_subsample=trees.subsample,
            lr_mode="scaled",
            # Defined at a site with one class only, which the recipe's own AUC is not.
            eval_metric="logloss",
            nthread=1,
            save_name=_MODEL,
        )
        scale = trees.learning_rate / _FLARES_RATE / sum(cases.values())
        parts = {site: {"data_loader": SiteRecords(), "lr_scale": count * scale} for site, count in cases.items()}
        set_per_site_config(self, parts)
        self.add_server_config({"server": {"task_request_interval": _POLL}})
        self.add_client_config({"default_task_fetch_interval": _POLL})

    def configure(self) -> FedJob:
        """The recipe's job, with the settings file; the constructor of FLARE's recipe calls this."""
        job = super().configure()
        # radfed is installed at every site: its modules are not to be copied into custom/.
        job.set_app_packages(["radfed"])
        for site in self._sites:
            job.add_file_to(str(self._settings), site, app_folder_type="config")
        return job


ALLOWED = (
    FedXGBTreeExecutor, MetricsArtifactWriter, ScatterAndGather, SiteRecords, XGBBaggingAggregator, XGBModelPersistor,
    XGBModelShareableGenerator,
)  # fmt: skip
"""All classes that the recipe's job names."""


def simulate_trees(job: Job, datasets: Mapping[str, Path], run: Path) -> dict[str, Any]:
    """Grow trees on sites of this machine, each in a process of its own, on FLARE's simulator.

    Args:
        job: of a task of records with classes.
        datasets: the prepared dataset of each site, by site name.
        run: folder for FLARE's log.

    Returns:
        All trees, as XGBoost's JSON; update after update, of all sites in a round.

    Raises:
        InvalidInputError: a site has no training case.
        FederationError: the federation left no trees.
    """
    for site, root in sorted(datasets.items()):
        if not Dataset.read(root).split("training"):
            raise InvalidInputError(f"{site}: the dataset has no training case, and no tree can be grown on it")
    run.mkdir(parents=True, exist_ok=True)
    # FLARE's executor takes a site's number from its name. Names differ in this one simulation only.
    numbered = {f"site-{number}": datasets[site] for number, site in enumerate(sorted(datasets), start=1)}
    with tempfile.TemporaryDirectory(prefix="radfed-", ignore_cleanup_errors=True) as scratch:
        place = Path(scratch)
        write_sites(place / "sites", numbered)
        job.write_json(place / _JOB)
        file = place / "flare" / job.job.name / "server" / "simulate_job" / "app_server" / _MODEL
        with (
            (run / LOG).open("wb") as log,
            simulator(place, log.fileno(), list(numbered), "radfed.federation.trees") as process,
        ):
            # What FLARE does once the model is whole is waiting.
            while (model := _read(file)) is None and process.poll() is None:
                time.sleep(_LOOK)
        model = model or _read(file)
    if model is None:
        raise FederationError(f"there are no trees; FLARE's log is {LOG} in {run}: {last_error(run, LOG)}")
    return model


def _read(file: Path) -> dict[str, Any] | None:
    """The model, once it is there as a whole."""
    try:
        model: dict[str, Any] = json.loads(file.read_bytes())
    except (FileNotFoundError, ValueError):
        return None
    return model


def _dataset(site: str, workspace: Path) -> Dataset:
    root = site_settings(site, workspace).dataset
    if root is None:
        raise InvalidInputError("site.yaml names no dataset")
    return Dataset.read(root)


def main(place: Path, sites: Sequence[str]) -> None:
    """Body of the simulator's process."""
    job = Job.read_json(place / _JOB)
    local = place / "flare" / job.job.name / "local"
    local.mkdir(parents=True)
    policy = {"format_version": 2, "class_allow_list": [f"{found.__module__}.{found.__name__}" for found in ALLOWED]}
    (local / "resources.json").write_text(json.dumps(policy), encoding="utf-8")
    cases = {site: len(_dataset(site, place).split("training")) for site in sites}
    TreeRecipe(job, cases, place).run(SimEnv(clients=list(sites), workspace_root=str(place / "flare")))


if __name__ == "__main__":
    # By its own name: the classes of __main__ are none that a job can name.
    from radfed.federation.trees import main as body

    body(Path(sys.argv[1]), sys.argv[2:])
