"""The site's side of a fingerprint: FLARE's statistics workflow, answered from ``site.yaml`` and the job's task alone.

FLARE's own recipe lets the submitter choose the privacy filters, and its ``MinCountCleanser`` takes out everything of a
small group but its count. Here the site's own rules are applied before there is an answer, see
``radfed.dataset.fingerprint``, and the questions are those of the task: bins of the server's choice are refused.
"""

from collections.abc import Mapping
from pathlib import Path

from nvflare.apis.fl_constant import ReturnCode
from nvflare.apis.fl_context import FLContext
from nvflare.apis.shareable import Shareable, make_reply
from nvflare.apis.signal import Signal
from nvflare.app_common.abstract.statistics_spec import (
    Bin,
    DataType,
    Feature,
    Histogram,
    HistogramType,
    StatisticConfig,
    Statistics,
)
from nvflare.app_common.app_constant import StatisticsConstants
from nvflare.app_common.executors.statistics.statistics_executor import StatisticsExecutor
from nvflare.app_common.executors.statistics.statistics_task_handler import StatisticsTaskHandler

from radfed.dataset.fingerprint import Told, cells_of
from radfed.dataset.fingerprint_features import GPU_MEMORY
from radfed.dataset.fingerprint_rules import Rules
from radfed.dataset.layout import Dataset
from radfed.errors import InvalidInputError, RadfedError
from radfed.federation.messages import REASON
from radfed.federation.place import site_settings
from radfed.federation.statistics_message import DIGITS, SPLIT
from radfed.job import SETTINGS_FILE, Job


class SiteStatistics(Statistics):  # type: ignore[misc] # nvflare has no types
    """Answers of one dataset to FLARE's questions. A category is a feature whose count is all there is to it.

    Args:
        told: what may be told.
        gpu_memory: what the site states of its GPU (GiB).
    """

    def __init__(self, told: Told, gpu_memory: float | None) -> None:
        super().__init__()
        self._told = told
        self._cells = cells_of(told.groups)
        self._machine = {} if gpu_memory is None else {GPU_MEMORY: gpu_memory}

    def features(self) -> dict[str, list[Feature]]:
        """Names of everything with enough patients behind it; the rest does not exist for the server."""
        names = (*self._told.features, *self._cells, *self._machine)
        return {SPLIT: [Feature(name, DataType.FLOAT) for name in names]}

    def count(self, dataset_name: str, feature_name: str) -> int:
        """Cases of a category; values of a feature."""
        if feature_name in self._machine:
            return 1
        return self._cells.get(feature_name) or self._told.measure(feature_name).count

    def sum(self, dataset_name: str, feature_name: str) -> float:
        """Of all values."""
        if feature_name in self._machine:
            return self._machine[feature_name]
        return float(self._cells.get(feature_name) or self._told.measure(feature_name).sum)

    def stddev(self, dataset_name: str, feature_name: str) -> float:
        """Sample standard deviation at this site."""
        return self._told.measure(feature_name).deviation if feature_name in self._told.features else 0.0

    def variance_with_mean(
        self, dataset_name: str, feature_name: str, global_mean: float, global_count: float
    ) -> float:
        """This site's part of the variance about the mean of all sites."""
        if feature_name not in self._told.features:
            return 0.0
        own = self._told.measure(feature_name)
        squares = (own.count - 1) * own.deviation**2 + own.count * (own.mean - global_mean) ** 2
        return squares / max(global_count - 1, 1)

    def min_value(self, dataset_name: str, feature_name: str) -> float:
        """Lower end of a coarse range, never a value of a case."""
        return self._told.range(feature_name)[0]

    def max_value(self, dataset_name: str, feature_name: str) -> float:
        """Upper end of a coarse range."""
        return self._told.range(feature_name)[1]

    def histogram(
        self, dataset_name: str, feature_name: str, num_of_bins: int, global_min_value: float, global_max_value: float
    ) -> Histogram:
        """Counts by bin; of a category none.

        Raises:
            DataError: the server asks for bins that the task does not give.
        """
        if feature_name not in self._told.features:
            return Histogram(HistogramType.STANDARD, [])
        bins = self._told.agreed(feature_name, global_min_value, global_max_value)
        counts, edges = self._told.histogram(feature_name, bins).counts, bins.edges
        return Histogram(
            HistogramType.STANDARD,
            [Bin(float(edges[i]), float(edges[i + 1]), count) for i, count in enumerate(counts)],
        )

    def prepare(self, lower: Mapping[str, float], upper: Mapping[str, float]) -> None:
        """Know the ranges of all features before the first of them is asked for."""
        known = [name for name in self._told.features if name in lower and name in upper]
        self._told.prepare({name: self._told.agreed(name, lower[name], upper[name]) for name in known})


class _Handler(StatisticsTaskHandler):  # type: ignore[misc] # nvflare has no types
    """FLARE's handler, with answers that no component of the job's configuration gives."""

    def __init__(self) -> None:
        super().__init__("", DIGITS)

    def initialize(self, fl_ctx: FLContext) -> None:
        """Nothing is looked up."""
        self.fl_ctx = fl_ctx

    def get_variance_with_mean(
        self,
        dataset_name: str,
        feature_name: str,
        statistic_configs: StatisticConfig,
        inputs: Shareable,
        fl_ctx: FLContext,
    ) -> float | None:
        """FLARE's, but a feature whose mean no site told has no variance either, which is no error."""
        means = (inputs.get(StatisticsConstants.STATS_GLOBAL_MEAN) or {}).get(dataset_name, {})
        if feature_name not in means:
            return None
        found: float | None = super().get_variance_with_mean(
            dataset_name, feature_name, statistic_configs, inputs, fl_ctx
        )
        return found


class FingerprintExecutor(StatisticsExecutor):  # type: ignore[misc] # nvflare has no types
    """Describes this site's training cases. No weight is made and none leaves; nothing in the job says where data lie.

    An error leaves the site as a reason code alone; its text stays in the site's own log.
    """

    def __init__(self) -> None:
        super().__init__(generator_id="", precision=DIGITS)

    def get_task_handler(self, fl_ctx: FLContext) -> StatisticsTaskHandler:
        """FLARE's handler; its answers are made when the server first asks."""
        handler = _Handler()
        handler.initialize(fl_ctx)
        return handler

    def execute(self, task_name: str, shareable: Shareable, fl_ctx: FLContext, abort_signal: Signal) -> Shareable:
        """Answer one of the two questions of FLARE's workflow."""
        if task_name != StatisticsConstants.FED_STATS_TASK or self.task_handler is None:
            return make_reply(ReturnCode.TASK_UNKNOWN)
        try:
            if self.task_handler.stats_generator is None:
                self.task_handler.stats_generator = self._statistics(fl_ctx)
            self._prepare(shareable)
        except RadfedError as error:
            # The text may name cases of this site. Not as an event: FLARE keeps events for whoever asks.
            self.log_warning(fl_ctx, str(error), fire_event=False)
            return make_reply(ReturnCode.EXECUTION_RESULT_ERROR, headers={REASON: error.reason})
        reply: Shareable = super().execute(task_name, shareable, fl_ctx, abort_signal)
        return reply

    def _statistics(self, fl_ctx: FLContext) -> SiteStatistics:
        workspace, job_id = fl_ctx.get_engine().get_workspace(), fl_ctx.get_job_id()
        job = Job.read_json(Path(workspace.get_app_config_dir(job_id)) / SETTINGS_FILE)
        site = site_settings(str(fl_ctx.get_identity_name()), Path(workspace.get_root_dir()))
        if site.dataset is None:
            raise InvalidInputError("site.yaml names no dataset; set its key 'dataset'")
        dataset = Dataset.read(site.dataset)
        rules = Rules(site.statistics.min_count, site.statistics.noise, dataset.digest.encode())
        return SiteStatistics(Told(dataset, job.task, rules), site.gpu_memory)

    def _prepare(self, shareable: Shareable) -> None:
        ends = [shareable.get(key) for key in (StatisticsConstants.STATS_MIN, StatisticsConstants.STATS_MAX)]
        if self.task_handler is not None and all(ends):
            lower, upper = (dict(end.get(SPLIT, {})) for end in ends)
            self.task_handler.stats_generator.prepare(lower, upper)
