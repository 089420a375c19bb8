"""The site's side: a closed executor. A job chooses settings that are checked here, never a command or a path."""

import shutil
from collections.abc import Callable
from pathlib import Path

from nvflare.apis.event_type import EventType
from nvflare.apis.executor import Executor
from nvflare.apis.fl_constant import ReturnCode
from nvflare.apis.fl_context import FLContext
from nvflare.apis.shareable import Shareable, make_reply
from nvflare.apis.signal import Signal
from nvflare.app_common.abstract.fl_model import FLModel, ParamsType
from nvflare.app_common.app_constant import AppConstants
from nvflare.app_common.utils.fl_model_utils import FLModelUtils

from radfed.errors import RadfedError
from radfed.federation.messages import REASON, TASKS, TEST, TRAIN, Report
from radfed.federation.place import campaigns_folder, site_settings
from radfed.federation.statements import signed_beside
from radfed.federation.trainer import TrainerDiedError, TrainerProcess
from radfed.job import SETTINGS_FILE, Job
from radfed.metrics.pooling import TestReport
from radfed.site.config import SiteSettings
from radfed.training.process import Request
from radfed.weights import load_weights, save_weights, weights_digest

_TRIES = 2
ACCOUNTS = ".privacy"
"""Folder of a campaign at a site: what differential privacy has cost. No site's name begins with a dot."""
# Ends the name of the folder of a job that belongs to no campaign; no campaign's name has a dot.
_ONCE = ".single"


class SiteExecutor(Executor):  # type: ignore[misc] # nvflare has no types
    """Validates the global model on this site's validation cases, then trains it on the training cases.

    The work is done by a trainer process, which is started again when it dies; with the optimiser's state on disk the
    round has the same result. Which data and how many cores is the site's own decision (``site.yaml``); the job can
    name neither. An error leaves the site as a reason code alone; its text stays in the site's own log.
    """

    def __init__(self) -> None:
        super().__init__()
        self._trainer: TrainerProcess | None = None
        self._opened = False

    def handle_event(self, event_type: str, fl_ctx: FLContext) -> None:
        """Start the trainer while the server still prepares; end it with the run."""
        if event_type == EventType.START_RUN:
            self._prepare(fl_ctx)
        elif event_type == EventType.END_RUN and self._trainer is not None:
            self._trainer.end()

    def execute(self, task_name: str, shareable: Shareable, fl_ctx: FLContext, abort_signal: Signal) -> Shareable:
        """Answer one task of the server."""
        if task_name not in TASKS:
            return make_reply(ReturnCode.TASK_UNKNOWN)
        received = FLModelUtils.from_shareable(shareable)
        try:
            answer = self._answer(task_name, received, fl_ctx, abort_signal)
        except RadfedError as error:
            # The text may name cases of this site: it goes to the site's own log, and only the code is an error.
            # Not as an event either: FLARE keeps events for whoever asks for a job's errors.
            self.log_warning(fl_ctx, str(error), fire_event=False)
            self.log_error(fl_ctx, f"{task_name}: {error.reason}")
            headers = {REASON: error.reason, AppConstants.CURRENT_ROUND: received.current_round}
            return make_reply(ReturnCode.EXECUTION_EXCEPTION, headers=headers)
        reply: Shareable = FLModelUtils.to_shareable(answer)
        return reply

    def _prepare(self, fl_ctx: FLContext) -> None:
        """Where this run's files are, and what the job and the site say."""
        workspace, job_id = fl_ctx.get_engine().get_workspace(), fl_ctx.get_job_id()
        self._folder = Path(workspace.get_run_dir(job_id)) / "trainer"
        self._folder.mkdir(exist_ok=True)
        self._job_file = Path(workspace.get_app_config_dir(job_id)) / SETTINGS_FILE
        job = self._job = Job.read_json(self._job_file)
        root = self._kit = Path(workspace.get_root_dir())
        self._name = str(fl_ctx.get_identity_name())
        self._states = campaigns_folder(root) / job.campaign / self._name if job.campaign else self._folder
        # Outlives the campaign, and a job that is run again: else its budget would begin anew.
        campaign = job.campaign or f"{job.job.name}{_ONCE}"
        self._account = campaigns_folder(root) / campaign / ACCOUNTS / self._name
        self._site: SiteSettings | None = None
        try:
            self._site = site_settings(self._name, root)
        except RadfedError as error:
            # Said again, as a reason, when the server asks for work.
            self.log_warning(fl_ctx, str(error), fire_event=False)
        else:
            self._start()

    def _start(self) -> TrainerProcess:
        assert self._site is not None  # settled by the callers
        # A process without a case in a step would have nothing to do.
        processes = min(self._site.training_processes, self._job.job.training.batch_size)
        self._trainer = TrainerProcess(self._folder / "trainer.log", self._site.threads, processes)
        self._opened = False
        return self._trainer

    def _answer(self, task: str, received: FLModel, fl_ctx: FLContext, abort_signal: Signal) -> FLModel:
        self._site = self._site or site_settings(self._name, Path(fl_ctx.get_engine().get_workspace().get_root_dir()))
        self._states.mkdir(parents=True, exist_ok=True, mode=0o700)
        weights, out = self._folder / "received.safetensors", self._folder / "trained.safetensors"
        save_weights(weights, received.params)
        number = received.current_round
        places = {"out": out, "states": self._states, "account": self._account}
        request = Request(do=task, weights=weights, round=number, **places)
        try:
            numbers, restarts = self._work(request, fl_ctx, lambda: bool(abort_signal.triggered))
            trained = load_weights(out) if task == TRAIN else None
        finally:
            # Soon enough that most of them never reach the disk.
            weights.unlink(missing_ok=True)
            out.unlink(missing_ok=True)
        if task == TEST:
            # The campaign is at its end: what was kept for further rounds has no use.
            shutil.rmtree(self._states, ignore_errors=True)
            metrics = TestReport.check(dict(numbers), "report").model_dump()
            digest = weights_digest(received.params)
            signed = signed_beside(metrics, "test", self._name, self._job.task, digest, "test", self._kit)
            return FLModel(metrics=metrics | signed, current_round=number)
        report = Report.check({**numbers, "restarts": restarts}, "report").model_dump()
        if trained is None:
            return FLModel(metrics=report, current_round=number)
        return FLModel(params_type=ParamsType.FULL, params=trained, metrics=report, current_round=number)

    def _work(self, request: Request, fl_ctx: FLContext, stop: Callable[[], bool]) -> tuple[dict[str, object], int]:
        """Have the trainer do it; one that dies is started again, a few times."""
        assert self._site is not None  # settled by the caller
        restarts = 0
        while True:
            trainer = self._trainer
            if trainer is None or not trainer.alive:
                restarts += trainer is not None
                trainer = self._start()
            try:
                if not self._opened:
                    site = self._site.model_dump(mode="json")
                    trainer.ask(Request(do="open", job=self._job_file, site=site, name=self._name), stop)
                    self._opened = True
                return dict(trainer.ask(request, stop)), restarts
            except TrainerDiedError as error:
                self.log_warning(fl_ctx, f"{error}; it is started again", fire_event=False)
                if restarts >= _TRIES or stop():
                    raise
