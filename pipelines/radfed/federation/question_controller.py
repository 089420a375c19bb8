"""The server's side of a question about a release: ask every site once, check each answer, put them together."""

from pathlib import Path

from nvflare.apis.client import Client
from nvflare.apis.controller_spec import ClientTask, Task
from nvflare.apis.fl_constant import ReturnCode
from nvflare.apis.fl_context import FLContext
from nvflare.apis.impl.controller import Controller
from nvflare.apis.shareable import Shareable
from nvflare.apis.signal import Signal
from nvflare.app_common.utils.fl_model_utils import FLModelUtils

from radfed.errors import FederationError, GateError, InvalidInputError, RadfedError
from radfed.federation.answers import as_code
from radfed.federation.messages import ASK, REASON, SIGNED
from radfed.federation.question import ANSWERS, KINDS, Told
from radfed.federation.statements import Expected, server_root
from radfed.federation.statistics_controller import RESULTS
from radfed.files import put_text
from radfed.job import SETTINGS_FILE, Job, ReleaseQuestion
from radfed.metrics.signed import keep_statements
from radfed.privacy.leakage_policy import LeakagePolicy
from radfed.settings import Settings
from radfed.signatures import Signed

_LOOK = 0.1


class QuestionController(Controller):  # type: ignore[misc] # nvflare has no types
    """Asks every site what the job's release is worth there. Writes ``answers.json`` and the pooled result.

    What is asked is in the job's ``config/radfed.json``; FLARE builds this class without arguments. A site whose answer
    is missing, is of another model, or is not signed by that site is named in ``answers.json``; with fewer than
    ``min_sites`` usable ones, or without a required one, there is no result and the job fails.
    """

    def __init__(self) -> None:
        super().__init__(task_check_period=_LOOK)
        self._answers: dict[str, Settings] = {}
        self._signed: dict[str, Signed] = {}
        self._refused: dict[str, str] = {}

    def start_controller(self, fl_ctx: FLContext) -> None:
        """Read the job."""
        workspace, job_id = fl_ctx.get_engine().get_workspace(), fl_ctx.get_job_id()
        self._job = Job.read_json(Path(workspace.get_app_config_dir(job_id)) / SETTINGS_FILE)
        self._results = Path(workspace.get_run_dir(job_id)) / RESULTS
        self._root = server_root(Path(workspace.get_root_dir()))
        self._sites = sorted(client.name for client in fl_ctx.get_engine().get_clients())

    def stop_controller(self, fl_ctx: FLContext) -> None:
        """Nothing is held."""

    def process_result_of_unknown_task(
        self, client: Client, task_name: str, client_task_id: str, result: Shareable, fl_ctx: FLContext
    ) -> None:
        """An answer that came too late is no answer."""

    def control_flow(self, abort_signal: Signal, fl_ctx: FLContext) -> None:
        """Ask, wait until all have answered or the deadline is over, and put the answers together."""
        federation = self._job.job.federation
        task = Task(ASK, Shareable(), timeout=federation.round_deadline, result_received_cb=self._take)
        self.broadcast_and_wait(
            task, fl_ctx, targets=list(self._sites), min_responses=len(self._sites), abort_signal=abort_signal
        )
        if abort_signal.triggered:
            return
        try:
            self._conclude()
        except (RadfedError, OSError) as error:
            self.system_panic(str(error), fl_ctx)

    def _take(self, client_task: ClientTask, fl_ctx: FLContext) -> None:
        """Judge one answer; one that cannot be used is no end of the others."""
        site, result = str(client_task.client.name), client_task.result
        if site in self._answers or site in self._refused:
            return
        code = result.get_return_code() if isinstance(result, Shareable) else ReturnCode.EMPTY_RESULT
        if code != ReturnCode.OK:
            self._refused[site] = as_code(result.get_header(REASON, code) if isinstance(result, Shareable) else code)
            return
        try:
            self._judge(site, dict(FLModelUtils.from_shareable(result).metrics or {}))
        except InvalidInputError as error:
            self.log_warning(fl_ctx, f"{site}: {error}", fire_event=False)
            self._refused[site] = "malformed_report"
        except GateError as error:
            self.log_warning(fl_ctx, str(error), fire_event=False)
            self._refused[site] = "bad_signature"
        except Exception:
            # Whatever a site made it stumble over.
            self.log_exception(fl_ctx, f"the answer of {site} cannot be read", fire_event=False)
            self._refused[site] = "unusable_answer"

    def _judge(self, site: str, content: dict[str, object]) -> None:
        question, asked = KINDS[self._job.purpose], self._asked
        text = content.pop(SIGNED, None)
        answer = question.answer().check(content, "answer")
        told = answer.model_dump(mode="json")
        wanted: dict[str, object] = {
            "model": asked.weights,
            "task": self._job.task.name,
            "task_digest": self._job.task.digest,
        }
        wanted |= {"split": asked.split} if "split" in told else {}
        # An audit by other limits than the server's would be a gate of the site's own.
        wanted |= {"policy": LeakagePolicy().model_dump(mode="json")} if "policy" in told else {}
        if {key: told[key] for key in wanted} != wanted:
            raise InvalidInputError("the answer is about something else than was asked")
        expected = Expected(self._root, question.purpose, self._job.task, asked.weights, asked.split)
        signed = expected.check(site, text, told)
        question.pool({site: answer}, asked)  # what cannot be pooled by itself must not end the others' question
        if signed is not None:
            self._signed[site] = signed
        self._answers[site] = answer

    @property
    def _asked(self) -> ReleaseQuestion:
        if self._job.release is None:
            raise InvalidInputError("the job asks about no release")
        return self._job.release

    def _conclude(self) -> None:
        """Write what came; the pooled result comes last, so that where it is all is there.

        Raises:
            FederationError: too few sites gave a usable answer.
        """
        federation, question = self._job.job.federation, KINDS[self._job.purpose]
        self._refused |= {
            site: "no_answer" for site in self._sites if site not in self._answers and site not in self._refused
        }
        told = Told(
            purpose=self._job.purpose,
            release=self._asked,
            answers={site: answer.model_dump(mode="json") for site, answer in sorted(self._answers.items())},
            refused=dict(sorted(self._refused.items())),
        )
        self._results.mkdir(parents=True, exist_ok=True)
        put_text(self._results / ANSWERS, told.model_dump_json(indent=1) + "\n")
        missing = sorted(set(federation.sites) - self._answers.keys())
        if len(self._answers) < federation.min_sites or missing:
            reasons = ", ".join(f"{site}: {reason}" for site, reason in told.refused.items())
            raise FederationError(
                f"{len(self._answers)} site(s) answered, {federation.min_sites} needed"
                f"{', without ' + ', '.join(missing) if missing else ''} ({reasons or 'no answer'})"
            )
        if self._root is not None:
            keep_statements(self._results, self._signed, self._root)
        result = question.pool(dict(self._answers), self._asked)
        put_text(self._results / question.result, result.model_dump_json(indent=1) + "\n")
