"""The site's side: a closed executor. A job chooses settings that are checked here, never a command or a path."""

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nvflare.apis.event_type import EventType
from nvflare.apis.executor import Executor
from nvflare.apis.fl_constant import ReturnCode
from nvflare.apis.fl_context import FLContext
from nvflare.apis.shareable import Shareable, make_reply
from nvflare.apis.signal import Signal
from nvflare.app_common.abstract.fl_model import FLModel, ParamsType
from nvflare.app_common.utils.fl_model_utils import FLModelUtils

from radfed.dataset.layout import Dataset
from radfed.errors import InvalidInputError, RadfedError, TrainingError
from radfed.federation.messages import JOB_FILE, TRAIN, VALIDATE, Report
from radfed.federation.place import site_settings
from radfed.job import Job

if TYPE_CHECKING:
    from radfed.training.trainer import SegmentationTrainer


class SiteExecutor(Executor):  # type: ignore[misc] # nvflare has no types
    """Validates the global model on this site's validation cases, then trains it on the training cases.

    Which data and how many cores is the site's own decision (``site.yaml``); the job cannot name either. An error
    leaves the site as a reason code alone; its text stays in the site's own log.
    """

    def __init__(self) -> None:
        super().__init__()
        self._trainer: SegmentationTrainer | None = None

    def handle_event(self, event_type: str, fl_ctx: FLContext) -> None:
        """Load torch while the server still prepares; let go of the data when the run ends."""
        if event_type == EventType.START_RUN:
            import_module("radfed.training.trainer")
        elif event_type == EventType.END_RUN:
            self._trainer = None

    def execute(self, task_name: str, shareable: Shareable, fl_ctx: FLContext, abort_signal: Signal) -> Shareable:
        """Answer one task of the server."""
        if task_name not in (TRAIN, VALIDATE):
            return make_reply(ReturnCode.TASK_UNKNOWN)
        try:
            answer = self._answer(task_name, FLModelUtils.from_shareable(shareable), fl_ctx, abort_signal)
        except RadfedError as error:
            # The text may name cases of this site. FLARE can stream its error log to the server, so the text goes to
            # the site's own log below that level, and only the code is an error.
            self.log_warning(fl_ctx, str(error))
            self.log_error(fl_ctx, f"{task_name}: {error.reason}")
            return make_reply(ReturnCode.EXECUTION_EXCEPTION, headers={"radfed_reason": error.reason})
        reply: Shareable = FLModelUtils.to_shareable(answer)
        return reply

    def _answer(self, task_name: str, received: FLModel, fl_ctx: FLContext, abort_signal: Signal) -> FLModel:
        trainer = self._trainer or self._prepare(fl_ctx)
        trainer.load(received.params)
        report: dict[str, Any] = {"cases": len(self._training)}
        # What comes with round 1 is the initial model, which nobody asks about.
        is_aggregate = task_name == VALIDATE or received.current_round > 1
        score = trainer.validate(self._validation) if is_aggregate else None
        if score is not None:
            report |= {"metric": score.metric, "metric_cases": score.cases, "evaluation_seconds": score.seconds}
        if task_name == VALIDATE:
            return FLModel(metrics=Report(**report).model_dump())
        steps = self._job.job.federation.local_steps
        first = (received.current_round - 1) * steps
        trained = trainer.train(self._training, first, steps, stop=lambda: abort_signal.triggered)
        if abort_signal.triggered:
            raise TrainingError(f"stopped in round {received.current_round} before its steps were taken")
        report |= {"loss": trained.loss, "train_seconds": trained.seconds}
        return FLModel(params_type=ParamsType.FULL, params=trainer.weights(), metrics=Report(**report).model_dump())

    def _prepare(self, fl_ctx: FLContext) -> "SegmentationTrainer":
        """Read the job and this site's data, once a run."""
        # Who only names this class, to export a job, need not wait for torch.
        from radfed.training.device import choose_device, claim_threads
        from radfed.training.samples import load_samples
        from radfed.training.trainer import SegmentationTrainer

        config = Path(fl_ctx.get_engine().get_workspace().get_app_config_dir(fl_ctx.get_job_id()))
        self._job = Job.read_json(config / JOB_FILE)
        site = site_settings(fl_ctx.get_identity_name())
        if site.threads is not None:
            claim_threads(site.threads)
        if site.dataset is None:
            raise InvalidInputError("site.yaml names no dataset; set it to the folder that 'radfed ingest' wrote")
        dataset = Dataset.read(site.dataset)
        self._training = load_samples(dataset, "training", self._job.task)
        self._validation = load_samples(dataset, "validation", self._job.task)
        federation = self._job.job.federation
        self._trainer = SegmentationTrainer(
            self._job.task,
            self._job.job.training,
            fl_ctx.get_identity_name(),
            federation.rounds * federation.local_steps,
            choose_device(site.device),
        )
        return self._trainer
