"""The site's side of a question about a release: scored at home, in a process of its own, and answered with sums."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from nvflare.apis.executor import Executor
from nvflare.apis.fl_constant import ReturnCode
from nvflare.apis.fl_context import FLContext
from nvflare.apis.shareable import Shareable, make_reply
from nvflare.apis.signal import Signal
from nvflare.app_common.abstract.fl_model import FLModel
from nvflare.app_common.utils.fl_model_utils import FLModelUtils

from radfed.cores import thread_environment
from radfed.errors import FederationError, GateError, InvalidInputError, RadfedError
from radfed.federation.answers import as_code
from radfed.federation.messages import ASK, REASON
from radfed.federation.place import site_settings
from radfed.federation.question import KINDS
from radfed.federation.statements import signed_beside
from radfed.job import SETTINGS_FILE, Job
from radfed.site.approval_facts import LARGEST_ANSWER
from radfed.site.config import SiteSettings

_MODULE = "radfed.workflow.site_answer"
_LOOK = 0.1


class RefusedAnswerError(RadfedError):
    """The process at this site gave no answer; ``reason`` is its code."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class QuestionExecutor(Executor):  # type: ignore[misc] # nvflare has no types
    """Has a release, which this site has fetched itself, asked about this site's cases.

    An error leaves the site as a reason code alone; its text stays in the site's own log.
    """

    def execute(self, task_name: str, shareable: Shareable, fl_ctx: FLContext, abort_signal: Signal) -> Shareable:
        """Answer the one question of the job."""
        if task_name != ASK:
            return make_reply(ReturnCode.TASK_UNKNOWN)
        try:
            answer = self._answer(fl_ctx, lambda: bool(abort_signal.triggered))
        except RadfedError as error:
            # The text may name cases of this site. Not as an event: FLARE keeps events for whoever asks.
            self.log_warning(fl_ctx, str(error), fire_event=False)
            return make_reply(ReturnCode.EXECUTION_RESULT_ERROR, headers={REASON: error.reason})
        reply: Shareable = FLModelUtils.to_shareable(FLModel(metrics=answer))
        return reply

    def _answer(self, fl_ctx: FLContext, stop: Callable[[], bool]) -> dict[str, object]:
        workspace, job_id = fl_ctx.get_engine().get_workspace(), fl_ctx.get_job_id()
        name, root = str(fl_ctx.get_identity_name()), Path(workspace.get_root_dir())
        file = Path(workspace.get_app_config_dir(job_id)) / SETTINGS_FILE
        job, site = Job.read_json(file), site_settings(name, root)
        if job.release is None:
            raise InvalidInputError("the job asks about no release")
        told = ask_site(file, site, Path(workspace.get_run_dir(job_id)), stop)
        question = KINDS[job.purpose]
        answer = question.answer().check(told, "answer").model_dump(mode="json")
        if len(json.dumps(answer)) > LARGEST_ANSWER:
            raise GateError(f"the answer has more than {LARGEST_ANSWER} bytes, so it does not leave")
        beside = signed_beside(
            answer, question.purpose, name, job.task, job.release.weights, job.release.split, root
        )  # fmt: skip
        return answer | beside


def ask_site(job: Path, site: SiteSettings, folder: Path, stop: Callable[[], bool]) -> dict[str, object]:
    """Run the process that answers.

    Args:
        job: the job's settings file.
        site: what the site has decided.
        folder: for what goes to and from the process.
        stop: looked at while waiting; True ends it.

    Raises:
        RefusedAnswerError: it says why there is no answer.
        FederationError: it died, or ``stop``.
    """
    given, out = folder / "site.json", folder / "answer.json"
    given.write_text(site.model_dump_json(), encoding="utf-8")
    out.unlink(missing_ok=True)
    environment = os.environ | thread_environment(1) | {"PYTHONWARNINGS": "ignore"}
    if site.threads is not None:
        environment |= {"OMP_NUM_THREADS": str(site.threads)}
    with (folder / "answer.log").open("wb") as log:
        child = subprocess.Popen(
            [sys.executable, "-m", _MODULE, str(job), str(given), str(out)],
            stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=environment, start_new_session=True,
        )  # fmt: skip
        try:
            while child.poll() is None:
                if stop():
                    raise FederationError("the question was withdrawn before it was answered")
                time.sleep(_LOOK)
        finally:
            if child.poll() is None:
                os.killpg(child.pid, signal.SIGKILL)
                child.wait()
            given.unlink(missing_ok=True)
    try:
        said = json.loads(out.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise FederationError(f"the process that answers died with exit code {child.returncode}") from error
    finally:
        out.unlink(missing_ok=True)
    if "answer" not in said:
        raise RefusedAnswerError(as_code(said.get("reason")), str(said.get("error")))
    return dict(said["answer"])
