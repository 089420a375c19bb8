"""The server's side: rounds of federated averaging, each kept on disk and written to the ledger."""

import shutil
import tempfile
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from nvflare.apis.controller_spec import ClientTask, TaskCompletionStatus
from nvflare.apis.fl_constant import ReturnCode
from nvflare.apis.fl_context import FLContext
from nvflare.apis.shareable import Shareable
from nvflare.app_common.abstract.fl_model import FLModel, ParamsType
from nvflare.app_common.app_constant import AppConstants
from nvflare.app_common.workflows.model_controller import ModelController

from radfed.errors import FederationError, RadfedError
from radfed.federation.aggregation import Update, aggregate
from radfed.federation.answers import Asked, as_code
from radfed.federation.children import build_release, initial_model
from radfed.federation.gathering import Answer, Gathering, judge
from radfed.federation.messages import LEDGER_TOPIC, REASON, TEST, TRAIN, VALIDATE
from radfed.federation.place import campaigns_folder
from radfed.federation.statements import Expected, server_root
from radfed.federation.store import EVALUATION, UPDATES, CampaignStore
from radfed.files import put_text
from radfed.job import SETTINGS_FILE, Job
from radfed.ledger import LinkLine, NoteLine, RoundLine, ScoreLine, SiteLine
from radfed.metrics.pooling import TestReport, pool
from radfed.metrics.signed import keep_statements
from radfed.weights import WeightsFile, load_weights, weights_digest

Tensors = dict[str, NDArray[Any]]

_LOOK = 0.05
# Digests and copies leave Python's lock, so that two answers are judged in the time of one.
_JUDGES = 2
# Seconds of silence after which a site's job counts as lost. It sends a sign of life every 10 s, and a minute of broken
# network must cost no site its place.
_SILENCE = 180.0


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
        self._asked: Asked | None = None
        self._noted: set[tuple[str, int | None]] = set()
        self._heard: dict[str, float] = {}
        self._pool = ThreadPoolExecutor(_JUDGES, "judge")

    def run(self) -> None:
        """One FLARE job of the training; called by FLARE once the job runs on the server."""
        workspace, job_id = self.engine.get_workspace(), self.fl_ctx.get_job_id()
        job = Job.read_json(Path(workspace.get_app_config_dir(job_id)) / SETTINGS_FILE)
        results = Path(self.get_run_dir()) / "radfed"
        folder = campaigns_folder(Path(workspace.get_root_dir())) / job.campaign if job.campaign else results
        self._listen_for_life()
        try:
            with CampaignStore.hold(folder, job) as store:
                self._store = store
                # Only now: who asks before would be told of an empty ledger.
                self.engine.register_app_command(LEDGER_TOPIC, self._tell, store)
                try:
                    self._link(store, job, job_id)
                finally:
                    self._store = None
                    if job.campaign:
                        store.copy_results(results)
        except (RadfedError, OSError) as error:
            self.error(str(error))
            self.panic(str(error))

    def _listen_for_life(self) -> None:
        """Note when each site's job was last heard of.

        FLARE looks for dead clients by their sessions, and takes a client whose parent was restarted for alive though
        its job is gone; every round would wait for it.
        """
        told = self.communicator.client_is_active

        def hear(client_name: str, reason: str, fl_ctx: FLContext) -> None:
            self._heard[client_name] = time.monotonic()
            told(client_name, reason, fl_ctx)

        self.communicator.client_is_active = hear

    @staticmethod
    def _tell(
        _topic: str, data: Mapping[str, object] | None, _fl_ctx: FLContext, store: CampaignStore
    ) -> dict[str, object]:
        """The ledger from a line on, for who watches from afar."""
        lines = list(store.ledger.lines)
        asked = (data or {}).get("after", 0)
        after = asked if isinstance(asked, int) and asked >= 0 else 0
        told = [line.model_dump(mode="json") for line in lines[after:]]
        return {"campaign": store.job.campaign, "lines": told, "total": len(lines)}

    def _stopped(self) -> bool:
        return bool(self.abort_signal.triggered)

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
            except (RadfedError, OSError):
                if job.campaign is None or store.lost_links >= job.job.federation.max_links:
                    store.conclude()
                raise
        if store.final is not None and job.campaign is not None and store.final.outcome != "FAILED":
            self.info(build_release(store, self._stopped))

    def _rounds(self, store: CampaignStore, job: Job, link: LinkLine) -> None:
        federation = job.job.federation
        last = federation.rounds
        if federation.link_rounds and job.campaign is not None:
            last = min(last, link.first_round + federation.link_rounds - 1)
        model = store.load_model() or initial_model(store, self._stopped)
        for number in range(link.first_round, last + 1):
            model = self._round(store, number, model, link)
        if last == federation.rounds:
            answers, _ = self._ask(store, VALIDATE, last, model, link.sites)
            told = [answer.line for answer in answers]
            self._score(store, told)
            if job.campaign is not None:
                self._test(store, link)
            store.conclude(told)

    def _round(self, store: CampaignStore, number: int, model: Tensors, link: LinkLine) -> Tensors:
        """One round, from asking to the aggregate on disk."""
        federation = store.job.job.federation
        started = time.monotonic()
        answers, _ = self._ask(store, TRAIN, number, model, link.sites)
        if number > 1:
            self._score(store, [answer.line for answer in answers])
        judged = judge(answers, federation.norm_limit)
        for answer in judged:
            store.ledger.append(answer.line)
        for site in sorted(set(link.required) - set(link.sites)):
            store.ledger.append(SiteLine(round=number, site=site, asked=False, reason="absent"))
        accepted = sum(answer.update is not None for answer in judged)
        if accepted < federation.min_sites:
            store.ledger.append(NoteLine(reason="quorum_missed", round=number))
            reasons = ", ".join(f"{a.line.site}: {a.line.reason}" for a in judged if not a.line.accepted)
            raise FederationError(
                f"round {number}: {accepted} update(s) accepted, {federation.min_sites} needed ({reasons})"
            )
        model = aggregate(
            [
                Update(answer.line.site, WeightsFile(answer.update), answer.line.weight or 0.0)
                for answer in judged
                if answer.update is not None
            ]
        )
        if not all(np.isfinite(array).all() for array in model.values()):
            raise FederationError(f"round {number}: the accepted updates do not add up to finite numbers")
        seconds = round(time.monotonic() - started, 3)
        line = RoundLine(round=number, digest=weights_digest(model), accepted=accepted, seconds=seconds)
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

    def _test(self, store: CampaignStore, link: LinkLine) -> None:
        """Have the sites score the best model on their test cases, and keep the pooled scores."""
        best = store.best_round
        assert best is not None  # there is at least one round
        _, tests = self._ask(store, TEST, best.round, load_weights(store.checkpoint(best.round)), link.sites)
        evaluation = pool(best.digest, {site: tests.get(site) for site in {*link.sites, *link.required}})
        put_text(store.folder / EVALUATION, evaluation.model_dump_json(indent=2) + "\n")
        asked = self._asked
        if asked is not None and asked.expected is not None and asked.expected.root is not None:
            keep_statements(store.folder, asked.signed, asked.expected.root)

    def _ask(
        self, store: CampaignStore, task: str, number: int, model: Tensors, sites: Sequence[str]
    ) -> tuple[list[Answer], dict[str, TestReport]]:
        """Send the model to every site and gather what comes back, until the rule closes the round."""
        # A folder for this task alone: an answer that comes late may still be written while the next task begins.
        shutil.rmtree(store.folder / UPDATES, ignore_errors=True)
        (store.folder / UPDATES).mkdir(exist_ok=True)
        folder = Path(tempfile.mkdtemp(dir=store.folder / UPDATES))
        federation = store.job.job.federation
        gathering = Gathering(number, sites, federation, federation.min_sites if task == TRAIN else None)
        tests: dict[str, TestReport] = {}
        measured = frozenset(store.job.task.measured)
        expected = None
        if task == TEST:
            root = server_root(Path(self.engine.get_workspace().get_root_dir()))
            expected = Expected(root, "test", store.job.task, weights_digest(model), "test")
        private = store.job.job.training.privacy is not None
        asked = self._asked = Asked(task, gathering, model, folder, tests, measured, self._pool, expected, private)
        self.broadcast_model(
            data=FLModel(params_type=ParamsType.FULL, params=model, current_round=number),
            task_name=task,
            targets=list(sites),
            blocking=False,
            callback=asked.take,
        )
        lost: set[str] = set()
        while not gathering.is_over(lost):
            if self._stopped():
                raise FederationError(f"round {number}: FLARE ended the job")
            time.sleep(_LOOK)
            lost = self._lost(sites)
        answers = gathering.close()
        if self.get_num_standing_tasks():
            self.communicator.cancel_all_tasks(completion_status=TaskCompletionStatus.TIMEOUT)
        silent = {site: "disconnected" if site in lost else "no_answer" for site in sites if site not in answers}
        missing = [Answer(SiteLine(round=number, site=site, reason=reason)) for site, reason in silent.items()]
        return sorted([*answers.values(), *missing], key=lambda answer: answer.line.site), tests

    def _lost(self, sites: Sequence[str]) -> set[str]:
        """Sites that FLARE takes for dead, and those whose job was heard of and then fell silent."""
        now = time.monotonic()
        return {
            site
            for site in sites
            if self.communicator.get_client_disconnect_time(site) or now - self._heard.get(site, now) > _SILENCE
        }

    def _process_result(self, client_task: ClientTask, fl_ctx: FLContext) -> None:
        """Have FLARE read an answer; one that it could not make anything of is an answer all the same."""
        asked, site = self._asked, str(client_task.client.name)
        super()._process_result(client_task, fl_ctx)
        if asked is not None and site not in asked.seen:
            # Without effect if it was an error reply, which was put already.
            asked.gathering.put(asked.gathering.refused(site, "unusable_answer"))

    def _accept_train_result(
        self, client_name: str, result: Shareable, fl_ctx: FLContext, is_unknown_task: bool = False
    ) -> bool:
        """Note error replies and late answers: FLARE counts the ones as responses and drops the others in silence."""
        code = result.get_return_code()
        failed = bool(code) and code != ReturnCode.OK
        if is_unknown_task:
            self._note_late(client_name, result.get_header(AppConstants.CURRENT_ROUND), failed)
            return False
        accepted: bool = super()._accept_train_result(client_name, result, fl_ctx, is_unknown_task)
        if failed and self._asked is not None:
            gathering = self._asked.gathering
            gathering.put(gathering.refused(client_name, as_code(result.get_header(REASON, code))))
        return accepted

    def _note_late(self, site: str, number: object, failed: bool) -> None:
        """One line for a site and round; a site cannot fill the ledger."""
        store = self._store
        if store is None:
            return
        known = number if isinstance(number, int) and 1 <= number <= store.job.job.federation.rounds else None
        if (site, known) not in self._noted:
            self._noted.add((site, known))
            store.ledger.append(NoteLine(reason="late_error" if failed else "late", site=site, round=known))
