"""The server's side: rounds of federated averaging, each written to the ledger."""

import time
from pathlib import Path
from typing import Any

from numpy.typing import NDArray
from nvflare.apis.fl_constant import ReturnCode
from nvflare.apis.fl_context import FLContext
from nvflare.apis.shareable import Shareable
from nvflare.app_common.abstract.fl_model import FLModel, ParamsType
from nvflare.app_common.workflows.model_controller import ModelController

from radfed.errors import FederationError, InvalidInputError
from radfed.federation.aggregation import Update, aggregate, refusal
from radfed.federation.messages import JOB_FILE, TRAIN, VALIDATE, Report
from radfed.job import Job
from radfed.ledger import Ledger, RoundLine, SiteLine, conclude
from radfed.weights import save_weights, weights_digest

Tensors = dict[str, NDArray[Any]]


class FederatedAveraging(ModelController):  # type: ignore[misc] # nvflare has no types
    """Ask every site in every round, weigh accepted updates by training cases, keep the best aggregate.

    A site's metric in round ``r`` scores the aggregate of round ``r - 1``; the last aggregate is scored by a
    ``validate`` task of its own, so every aggregate is a candidate. FLARE builds this class from the job's
    configuration; its settings come from the job's ``config/radfed.json``.
    """

    def __init__(self, *args: object, **kwargs: object) -> None:
        # FLARE's exporter and builder expect exactly *args and **kwargs on a controller.
        kwargs.setdefault("ignore_result_error", True)
        # FLARE looks every 0.5 s whether a round is over; each round waits for that look.
        kwargs.setdefault("task_check_period", 0.1)
        super().__init__(*args, **kwargs)
        self._answers: dict[str, tuple[str | None, float]] = {}
        self._asked_at = 0.0
        self._best = -1.0

    def run(self) -> None:
        """The whole training; called by FLARE once the job runs on the server."""
        self._job = Job.read_json(
            Path(self.engine.get_workspace().get_app_config_dir(self.fl_ctx.get_job_id())) / JOB_FILE
        )
        self._folder = Path(self.get_run_dir()) / "radfed"
        self._folder.mkdir(exist_ok=True)
        self._ledger = Ledger(self._folder / "ledger.jsonl")
        sites = sorted(client.name for client in self.engine.get_clients())
        rounds = self._job.job.federation.rounds
        try:
            self._rounds(sites, rounds)
        except FederationError as error:
            self.error(str(error))
            self.panic(str(error))
        finally:
            self._ledger.append(conclude(self._ledger.lines, sites, rounds))

    def _rounds(self, sites: list[str], rounds: int) -> None:
        from radfed.training.networks import build_network

        network = build_network(self._job.task, self._job.job.training.seed)
        model: Tensors = {name: tensor.numpy() for name, tensor in network.state_dict().items()}
        pending: RoundLine | None = None
        for number in range(1, rounds + 1):
            started = time.monotonic()
            lines, updates = self._ask(TRAIN, number, model, sites)
            if pending is not None:
                self._score(pending, lines, model)
            for line in lines:
                self._ledger.append(line)
            needed = min(self._job.job.federation.min_sites, len(sites))
            if len(updates) < needed:
                reasons = ", ".join(f"{line.site}: {line.reason}" for line in lines if not line.accepted)
                raise FederationError(f"round {number}: {len(updates)} update(s) accepted, {needed} needed ({reasons})")
            model = aggregate(updates)
            pending = RoundLine(
                round=number,
                digest=weights_digest(model),
                accepted=len(updates),
                metric=None,
                metric_cases=0,
                seconds=round(time.monotonic() - started, 3),
            )
            save_weights(self._folder / "final.safetensors", model)
        assert pending is not None  # rounds is at least 1
        lines, _ = self._ask(VALIDATE, rounds, model, sites)
        self._score(pending, lines, model)

    def _score(self, line: RoundLine, reports: list[SiteLine], model: Tensors) -> None:
        """Write the round's line with the metric that the sites found for its aggregate; keep the best model."""
        measured = [(r.metric, r.metric_cases) for r in reports if r.metric is not None and r.metric_cases]
        cases = sum(count for _, count in measured)
        metric = sum(value * count for value, count in measured) / cases if cases else None
        self._ledger.append(line.model_copy(update={"metric": metric, "metric_cases": cases}))
        # As the ledger's conclusion ranks them: any metric beats none, and of equals the later round stands.
        rank = -1.0 if metric is None else metric
        if rank >= self._best:
            self._best = rank
            save_weights(self._folder / "best.safetensors", model)

    def _ask(self, task: str, number: int, model: Tensors, sites: list[str]) -> tuple[list[SiteLine], list[Update]]:
        """Send the model to every site and judge what comes back."""
        self._answers, self._asked_at = {}, time.monotonic()
        results: list[FLModel] = self.send_model_and_wait(
            task_name=task,
            data=FLModel(params_type=ParamsType.FULL, params=model, current_round=number),
            targets=sites,
            timeout=self._job.job.federation.round_deadline,
        )
        by_site = {result.meta["client_name"]: result for result in results}
        judged = [self._judge(task, number, site, by_site.get(site), model) for site in sites]
        return [line for line, _ in judged], [update for _, update in judged if update is not None]

    def _judge(
        self, task: str, number: int, site: str, result: FLModel | None, model: Tensors
    ) -> tuple[SiteLine, Update | None]:
        line = SiteLine(round=number, site=site)
        if site not in self._answers:
            return line.model_copy(update={"reason": "no_answer"}), None
        error, seconds = self._answers[site]
        line = line.model_copy(update={"answered": True, "seconds": round(seconds, 3)})
        if error is not None or result is None:
            return line.model_copy(update={"reason": error or "unreadable"}), None
        try:
            report = Report.check(dict(result.metrics or {}), "report")
        except InvalidInputError:
            return line.model_copy(update={"reason": "malformed_report"}), None
        line = line.model_copy(update=report.model_dump(exclude={"cases"}) | {"weight": float(report.cases)})
        if task == VALIDATE:
            return line, None
        params: Tensors = result.params or {}
        reason = refusal(params, model) or ("no_cases" if report.cases == 0 else None)
        if reason is not None:
            return line.model_copy(update={"reason": reason}), None
        size = sum(array.nbytes for array in params.values())
        accepted = {"accepted": True, "digest": weights_digest(params), "bytes": size}
        return line.model_copy(update=accepted), Update(site, params, float(report.cases))

    def _accept_train_result(
        self, client_name: str, result: Shareable, fl_ctx: FLContext, is_unknown_task: bool = False
    ) -> bool:
        """Note each answer, error replies too: FLARE counts those as responses and says nothing of them later."""
        if not is_unknown_task:
            code = result.get_return_code()
            failed = code if code and code != ReturnCode.OK else None
            reason = result.get_header("radfed_reason", failed)
            self._answers[client_name] = (reason if failed else None, time.monotonic() - self._asked_at)
        accepted: bool = super()._accept_train_result(client_name, result, fl_ctx, is_unknown_task)
        return accepted
