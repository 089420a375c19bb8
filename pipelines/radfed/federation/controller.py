"""The server's side: rounds of federated averaging, each kept on disk and written to the ledger."""

import re
import shutil
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from numpy.typing import NDArray
from nvflare.apis.controller_spec import TaskCompletionStatus
from nvflare.apis.fl_constant import ReturnCode
from nvflare.apis.fl_context import FLContext
from nvflare.apis.shareable import Shareable
from nvflare.app_common.abstract.fl_model import FLModel, ParamsType
from nvflare.app_common.app_constant import AppConstants
from nvflare.app_common.workflows.model_controller import ModelController

from radfed.errors import FederationError, InvalidInputError, RadfedError
from radfed.federation.aggregation import Update, aggregate, change_norm, refusal
from radfed.federation.children import build_release, initial_model
from radfed.federation.gathering import Answer, Gathering, judge
from radfed.federation.messages import JOB_FILE, LEDGER_TOPIC, REASON, TEST, TRAIN, VALIDATE, Report
from radfed.federation.place import campaigns_folder
from radfed.federation.store import EVALUATION, UPDATES, CampaignStore
from radfed.job import Job
from radfed.ledger import LinkLine, NoteLine, RoundLine, ScoreLine, SiteLine
from radfed.metrics.pooling import TestReport, pool
from radfed.weights import WeightsFile, load_weights, save_weights, weights_digest

Tensors = dict[str, NDArray[Any]]

_LOOK = 0.05


class FederatedAveraging(ModelController):  # type: ignore[misc] # nvflare has no types
    """Ask every site in every round, weigh accepted updates by training cases, keep every aggregate.

    A site's metric in round ``r`` scores the aggregate of round ``r - 1``; the last aggregate is scored by a
    ``validate`` task of its own, so every aggregate is a candidate. One FLARE job takes at most ``link_rounds`` rounds
    and begins where the one before ended. FLARE builds this class from the job's configuration; its settings come from
    the job's ``config/radfed.json``.
    """

    def __init__(self, *args: object, **kwargs: object) -> None:
        # FLARE's exporter and builder expect exactly *args and **kwargs on a controller.
        kwargs.setdefault("ignore_result_error", True)
        # FLARE looks every 0.5 s whether a round is over; each round waits for that look.
        kwargs.setdefault("task_check_period", 0.1)
        super().__init__(*args, **kwargs)
        self._store: CampaignStore | None = None
        self._gathering: Gathering | None = None
        self._tests: dict[str, TestReport] = {}

    def run(self) -> None:
        """One FLARE job of the training; called by FLARE once the job runs on the server."""
        workspace, job_id = self.engine.get_workspace(), self.fl_ctx.get_job_id()
        job = Job.read_json(Path(workspace.get_app_config_dir(job_id)) / JOB_FILE)
        results = Path(self.get_run_dir()) / "radfed"
        folder = campaigns_folder(Path(workspace.get_root_dir())) / job.campaign if job.campaign else results
        self.engine.register_app_command(LEDGER_TOPIC, self._tell)
        try:
            with CampaignStore.hold(folder, job) as store:
                self._store = store
                try:
                    self._link(store, job, job_id)
                finally:
                    if job.campaign:
                        store.copy_results(results)
        except RadfedError as error:
            self.error(str(error))
            self.panic(str(error))

    def _tell(self, _topic: str, data: Mapping[str, object] | None, _fl_ctx: FLContext) -> dict[str, object]:
        """The ledger from a line on, for who watches from afar."""
        lines = list(self._store.ledger.lines) if self._store else []
        asked = (data or {}).get("after", 0)
        after = asked if isinstance(asked, int) and asked >= 0 else 0
        campaign = self._store.job.campaign if self._store else None
        return {
            "campaign": campaign,
            "lines": [line.model_dump(mode="json") for line in lines[after:]],
            "total": len(lines),
        }

    def _link(self, store: CampaignStore, job: Job, job_id: str) -> None:
        """Go on with the training for as long as this FLARE job may."""
        if store.final is None:
            sites = sorted(client.name for client in self.engine.get_clients())
            known = next((line.sites for line in reversed(store.ledger.lines) if isinstance(line, LinkLine)), None)
            link = store.begin_link(job_id, sites)
            for site in sorted(set(sites) - set(known or sites)):
                store.ledger.append(NoteLine(reason="joined", site=site, round=link.first_round))
            try:
                self._rounds(store, job, link)
            except FederationError:
                if job.campaign is None or store.lost_links >= job.job.federation.max_links:
                    store.conclude()
                raise
        if store.final is not None and job.campaign is not None and store.final.outcome != "FAILED":
            self.info(build_release(store.folder))

    def _rounds(self, store: CampaignStore, job: Job, link: LinkLine) -> None:
        federation = job.job.federation
        last = federation.rounds
        if federation.link_rounds and job.campaign is not None:
            last = min(last, link.first_round + federation.link_rounds - 1)
        model = store.load_model() or initial_model(job, store.folder)
        for number in range(link.first_round, last + 1):
            model = self._round(store, number, model, link)
        if last == federation.rounds:
            answers = self._ask(store, VALIDATE, last, model, link.sites)
            self._score(store, [answer.line for answer in answers])
            if job.campaign is not None:
                self._test(store, link.sites)
            store.conclude()

    def _round(self, store: CampaignStore, number: int, model: Tensors, link: LinkLine) -> Tensors:
        """One round, from asking to the aggregate on disk."""
        federation = store.job.job.federation
        started = time.monotonic()
        answers = self._ask(store, TRAIN, number, model, link.sites)
        if number > 1:
            self._score(store, [answer.line for answer in answers])
        judged = judge(answers, federation.norm_limit)
        for answer in judged:
            store.ledger.append(answer.line)
        for site in sorted(set(link.required) - set(link.sites)):
            store.ledger.append(SiteLine(round=number, site=site, asked=False, reason="absent"))
        updates = [
            Update(answer.line.site, WeightsFile(answer.update), answer.line.weight or 0.0)
            for answer in judged
            if answer.update is not None
        ]
        if len(updates) < federation.min_sites:
            store.ledger.append(NoteLine(reason="quorum_missed", round=number))
            reasons = ", ".join(f"{a.line.site}: {a.line.reason}" for a in judged if not a.line.accepted)
            raise FederationError(
                f"round {number}: {len(updates)} update(s) accepted, {federation.min_sites} needed ({reasons})"
            )
        model = aggregate(updates)
        line = RoundLine(
            round=number,
            digest=weights_digest(model),
            accepted=len(updates),
            seconds=round(time.monotonic() - started, 3),
        )
        store.save_round(line, model)
        return model

    def _score(self, store: CampaignStore, reports: Sequence[SiteLine]) -> None:
        """Write the metric that the sites found for the last aggregate."""
        measured = [(r.metric, r.metric_cases) for r in reports if r.metric is not None and r.metric_cases]
        cases = sum(count for _, count in measured)
        metric = sum(value * count for value, count in measured) / cases if cases else None
        last = store.last_round
        assert last is not None  # a metric is only asked for once there is an aggregate
        store.ledger.append(ScoreLine(round=last.round, metric=metric, metric_cases=cases))

    def _test(self, store: CampaignStore, sites: Sequence[str]) -> None:
        """Have the sites score the best model on their test cases, and keep the pooled scores."""
        best = store.best_round
        if best is None:
            return
        self._tests = {}
        self._ask(store, TEST, best.round, load_weights(store.checkpoint(best.round)), sites)
        evaluation = pool(best.digest, {site: self._tests.get(site) for site in sites})
        beside = store.folder / f".{EVALUATION}"
        beside.write_text(evaluation.model_dump_json(indent=2) + "\n", encoding="utf-8")
        beside.replace(store.folder / EVALUATION)

    def _ask(self, store: CampaignStore, task: str, number: int, model: Tensors, sites: Sequence[str]) -> list[Answer]:
        """Send the model to every site and gather what comes back, until the rule closes the round."""
        folder = store.folder / UPDATES
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        gathering = Gathering(number, sites, store.job.job.federation)
        self._gathering = gathering
        self.broadcast_model(
            data=FLModel(params_type=ParamsType.FULL, params=model, current_round=number),
            task_name=task,
            targets=list(sites),
            blocking=False,
            callback=lambda result: self._take(task, number, result, model, folder),
        )
        lost: set[str] = set()
        while not gathering.is_over(lost):
            if self.abort_signal.triggered:
                raise FederationError(f"round {number}: FLARE ended the job")
            time.sleep(_LOOK)
            lost = {site for site in sites if self.communicator.get_client_disconnect_time(site)}
        answers = gathering.close()
        if self.get_num_standing_tasks():
            self.communicator.cancel_all_tasks(completion_status=TaskCompletionStatus.TIMEOUT)
        silent = {site: "disconnected" if site in lost else "no_answer" for site in sites if site not in answers}
        missing = [Answer(SiteLine(round=number, site=site, reason=reason)) for site, reason in silent.items()]
        return sorted([*answers.values(), *missing], key=lambda answer: answer.line.site)

    def _take(self, task: str, number: int, result: FLModel, model: Tensors, folder: Path) -> None:
        """Judge one answer by itself, and put its update on disk; runs in a thread of FLARE's."""
        gathering, site = self._gathering, str(result.meta["client_name"])
        assert gathering is not None  # nothing is received before something was asked
        line = SiteLine(round=number, site=site, answered=True, seconds=round(gathering.seconds, 3))
        try:
            content = dict(result.metrics or {})
            if task == TEST:
                self._tests[site] = TestReport.check(content, "report")
                gathering.put(Answer(line))
                return
            report = Report.check(content, "report")
        except InvalidInputError:
            gathering.put(Answer(line.model_copy(update={"reason": "malformed_report"})))
            return
        line = line.model_copy(update=report.model_dump(exclude={"cases"}) | {"weight": float(report.cases)})
        params: Tensors = result.params or {}
        reason = None
        if task == TRAIN:
            reason = refusal(params, model) or ("no_cases" if report.cases == 0 else None)
        if task != TRAIN or reason is not None:
            gathering.put(Answer(line.model_copy(update={"reason": reason})))
            return
        path = folder / f"{gathering.sites.index(site)}.safetensors"
        save_weights(path, params)
        facts = {
            "digest": weights_digest(params),
            "bytes": sum(array.nbytes for array in params.values()),
            "norm": change_norm(params, model),
        }
        gathering.put(Answer(line.model_copy(update=facts), path))

    def _accept_train_result(
        self, client_name: str, result: Shareable, fl_ctx: FLContext, is_unknown_task: bool = False
    ) -> bool:
        """Note error replies and late answers: FLARE counts the ones as responses and drops the others in silence."""
        number = result.get_header(AppConstants.CURRENT_ROUND)
        code = result.get_return_code()
        if is_unknown_task:
            if self._store is not None and self._store.final is None:
                reason = "late" if not code or code == ReturnCode.OK else "late_error"
                known = number if isinstance(number, int) else None
                self._store.ledger.append(NoteLine(reason=reason, site=client_name, round=known))
            return False
        accepted: bool = super()._accept_train_result(client_name, result, fl_ctx, is_unknown_task)
        if code and code != ReturnCode.OK and self._gathering is not None:
            reason = _as_code(result.get_header(REASON, code))
            seconds = round(self._gathering.seconds, 3)
            here = self._gathering.number
            self._gathering.put(
                Answer(SiteLine(round=here, site=client_name, answered=True, reason=reason, seconds=seconds))
            )
        return accepted


def _as_code(reason: object) -> str:
    """A reason that a site gave, as a code: what a site writes into the ledger is bounded."""
    text = str(reason)
    return text if re.fullmatch(r"[A-Za-z0-9_]{1,64}", text) else "malformed_reason"
