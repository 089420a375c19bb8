"""The server's side of a fingerprint: FLARE's statistics workflow, whose result is checked and put together here."""

from pathlib import Path

from nvflare.apis.client import Client
from nvflare.apis.controller_spec import ClientTask, Task
from nvflare.apis.fl_constant import ReturnCode
from nvflare.apis.fl_context import FLContext
from nvflare.apis.shareable import Shareable
from nvflare.apis.signal import Signal
from nvflare.app_common.app_constant import StatisticsConstants
from nvflare.app_common.workflows.statistics_controller import StatisticsController

import radfed
from radfed.dataset.fingerprint_content import FINGERPRINT, Fingerprint, SiteFingerprint, pool
from radfed.errors import FederationError, RadfedError
from radfed.federation.answers import as_code
from radfed.federation.messages import REASON
from radfed.federation.statistics_message import DIGITS, SPLIT, read_answers, statistic_configs
from radfed.files import put_text
from radfed.job import SETTINGS_FILE, Job

RESULTS = "radfed"
"""Folder of a job's run that the engineer gets."""

_WAIT = 2


class FingerprintController(StatisticsController):  # type: ignore[misc] # nvflare has no types
    """Asks every site twice: counts, sums and ranges; then histograms and deviations. Writes ``fingerprint.json``.

    What is asked follows from the task in the job's ``config/radfed.json``; FLARE builds this class without arguments.
    A site whose answer is missing or is not what was asked for is named in the result; with fewer than ``min_sites``
    usable ones, or without a required one, there is no result and the job fails.
    """

    def __init__(self) -> None:
        super().__init__(
            statistic_configs={},
            writer_id="",
            wait_time_after_min_received=0,
            result_wait_timeout=_WAIT,
            precision=DIGITS,
            enable_pre_run_task=False,
        )
        self._refused: dict[str, str] = {}

    def start_controller(self, fl_ctx: FLContext) -> None:
        """Read the job."""
        workspace, job_id = fl_ctx.get_engine().get_workspace(), fl_ctx.get_job_id()
        self._job = Job.read_json(Path(workspace.get_app_config_dir(job_id)) / SETTINGS_FILE)
        self._results = Path(workspace.get_run_dir(job_id)) / RESULTS
        self._sites = sorted(client.name for client in fl_ctx.get_engine().get_clients())
        self.statistic_configs = statistic_configs(self._job.task)
        super().start_controller(fl_ctx)

    def broadcast_and_wait(
        self,
        task: Task,
        fl_ctx: FLContext,
        targets: list[Client] | list[str] | None = None,
        min_responses: int = 1,
        wait_time_after_min_received: int = 0,
        abort_signal: Signal | None = None,
    ) -> None:
        """FLARE's, with the job's deadline: a site that died must not hold the others for ever."""
        task.timeout = self._job.job.federation.round_deadline
        super().broadcast_and_wait(
            task, fl_ctx, targets, min_responses, wait_time_after_min_received, abort_signal=abort_signal
        )

    def results_cb(self, client_task: ClientTask, fl_ctx: FLContext) -> None:
        """Take one answer; one that cannot be read is no answer, and no end of the others."""
        site, result = str(client_task.client.name), client_task.result
        code = result.get_return_code() if isinstance(result, Shareable) else ReturnCode.EMPTY_RESULT
        if code != ReturnCode.OK:
            self._refused[site] = as_code(result.get_header(REASON, code) if isinstance(result, Shareable) else code)
            # FLARE ends the job for some of the codes.
            client_task.result = None
            return
        try:
            super().results_cb(client_task, fl_ctx)
        except Exception:
            # Whatever a site made FLARE's reader stumble over.
            self.log_exception(fl_ctx, f"the answer of {site} cannot be read", fire_event=False)
            self._refused[site] = "malformed_report"

    def post_fn(self, task_name: str, fl_ctx: FLContext) -> None:
        """Put the fingerprint together."""
        try:
            found = self._fingerprint()
        except RadfedError as error:
            self.system_panic(str(error), fl_ctx)
            return
        self._results.mkdir(parents=True, exist_ok=True)
        put_text(self._results / FINGERPRINT, found.model_dump_json(indent=1) + "\n")
        self.log_info(fl_ctx, f"{FINGERPRINT} of {len(found.sites)} sites is written")

    def _fingerprint(self) -> Fingerprint:
        """Check every site's answer and add them up.

        Raises:
            FederationError: too few sites gave a usable one.
        """
        ranges = [
            self.global_statistics.get(key, {}).get(SPLIT, {})
            for key in (StatisticsConstants.STATS_MIN, StatisticsConstants.STATS_MAX)
        ]
        sites: dict[str, SiteFingerprint] = {}
        for site in self._sites:
            answers = {
                statistic: by_site[site].get(SPLIT, {})
                for statistic, by_site in self.client_statistics.items()
                if site in by_site and isinstance(by_site[site], dict)
            }
            try:
                if site not in self._refused:
                    sites[site] = read_answers(self._job.task, answers, ranges[0], ranges[1])
            except RadfedError as error:
                self.log_warning(self.fl_ctx, f"{site}: {error}", fire_event=False)
                self._refused[site] = "malformed_report"
            if site in sites and not (sites[site].values or sites[site].groups):
                del sites[site]
                self._refused[site] = "nothing_told"
        federation = self._job.job.federation
        missing = sorted(set(federation.sites) - sites.keys())
        if len(sites) < federation.min_sites or missing:
            reasons = ", ".join(f"{site}: {reason}" for site, reason in sorted(self._refused.items()))
            raise FederationError(
                f"{len(sites)} site(s) told a fingerprint, {federation.min_sites} needed"
                f"{', without ' + ', '.join(missing) if missing else ''} ({reasons or 'no answer'})"
            )
        return Fingerprint(
            task=self._job.task.name,
            task_digest=self._job.task.digest,
            sites=sites,
            pooled=pool(sites),
            refused=self._refused,
            radfed_version=radfed.__version__,
        )
