"""The guard at a site's door: FLARE's client asks it about every job, before anything of the job is on disk or runs.

FLARE's own policies judge what a job is made of. This one judges the job: it must be one that radfed itself would
write, and a person at the site must have approved it.
"""

import os
import threading
from collections.abc import Mapping
from datetime import date
from pathlib import Path

from nvflare.apis.event_type import EventType
from nvflare.apis.fl_component import FLComponent
from nvflare.apis.fl_context import FLContext
from nvflare.apis.job_def import JobMetaKey
from nvflare.apis.workspace import Workspace
from nvflare.private.admin_defs import Message, error_reply
from nvflare.private.defs import TrainingTopic
from nvflare.private.fed.client.training_cmds import DeployProcessor
from nvflare.private.fed.utils.app_deployer import AppDeployer
from nvflare.security.logging import SECURE_LOGGING_VAR_NAME

from radfed.errors import InvalidInputError
from radfed.federation.app_files import RefusedError, checked_job, files_of, leaving
from radfed.federation.closed_commands import close_parent, is_job_id
from radfed.federation.place import site_folder, site_settings
from radfed.site.approval import Approvals, PrivacyDemandError, decide, demand_privacy, job_digest, timestamp
from radfed.site.approval_facts import JobFacts, gather, measure
from radfed.site.config import SiteSettings

# The server waits 30 s for the answer to a deployment.
_MEASURE_AT_ONCE = 6.0
_MEASURE_LATER = 180.0


class ApprovingDeployer(FLComponent, AppDeployer):  # type: ignore[misc] # nvflare has no types
    """Refuses every job that is not codeless by construction, or that nobody at this site approved.

    FLARE finds it under the id ``app_deployer`` in the kit's ``local/resources.json``. What ``deploy`` returns goes to
    the server, into the job's deploy detail.
    """

    def __init__(self) -> None:
        FLComponent.__init__(self)
        self._lock = threading.Lock()
        # FLARE puts the texts of its errors, in which paths stand, into what it answers the server. With this set, by
        # which the processes of jobs start too, it names the type of an error alone.
        os.environ.setdefault(SECURE_LOGGING_VAR_NAME, "true")

    def handle_event(self, event_type: str, fl_ctx: FLContext) -> None:
        """Close what a server may not ask of a site, as soon as FLARE has opened it."""
        if event_type == EventType.SYSTEM_START:
            agent = fl_ctx.get_engine().admin_agent
            close_parent(agent)
            agent.processors[TrainingTopic.DEPLOY] = BoundedDeploy()

    def deploy(
        self,
        workspace: Workspace,
        job_id: str,
        job_meta: dict[str, object],
        app_name: str,
        app_data: bytes,
        fl_ctx: FLContext,
    ) -> str:
        """Deploy an approved job.

        Returns:
            Why the job was refused; empty if it was deployed.
        """
        try:
            kit = Path(workspace.get_root_dir())
            with self._lock:
                by = judge(fl_ctx.get_identity_name(), kit, job_id, job_meta, app_data)
            self.logger.info(f"job {job_id}: may run here, approved by {by}")
            return super().deploy(workspace, job_id, job_meta, app_name, app_data, fl_ctx) or ""
        except RefusedError as refusal:
            self.logger.warning(f"job {job_id}: refused: {refusal}")
            return str(refusal)
        except Exception as error:
            # Whatever goes wrong here, the job must not run; and the text of an unforeseen error may hold a path.
            self.logger.exception("the guard failed, so the job is refused")
            return f"radfed:guard_failed:{type(error).__name__}"


class BoundedDeploy(DeployProcessor):  # type: ignore[misc] # nvflare has no types
    """FLARE unpacks a job into a temporary folder before it asks the guard; this looks at the archive before that."""

    def process(self, req: Message, app_ctx: object) -> Message:
        """Deploy an app whose archive keeps the bounds."""
        try:
            files_of(req.body)
        except RefusedError as refusal:
            return error_reply(str(refusal))
        return super().process(req, app_ctx)


def judge(name: str, kit: Path, job_id: str, meta: Mapping[str, object], archive: bytes) -> str:
    """Whether a job may run at a site.

    Args:
        name: the site's.
        kit: its startup kit, which is also FLARE's workspace.
        job_id: FLARE's id of the job.
        meta: what the server says of the job.
        archive: the job's app, a zip.

    Returns:
        Who or what approved it.

    Raises:
        RefusedError: it may not.
    """
    if not is_job_id(job_id):
        raise RefusedError("radfed:bad_job:the job's id is not allowed")
    for key in (JobMetaKey.RESOURCE_SPEC.value, JobMetaKey.JOB_LAUNCHER_SPEC.value):
        if meta.get(key):
            # It can name images and commands.
            raise RefusedError(f"radfed:not_codeless:{key} must be empty")
    files = files_of(archive)
    job = checked_job(files)
    folder, site = _site(name, kit)
    try:
        demand_privacy(site.approval, job)
    except PrivacyDemandError as refusal:
        raise RefusedError(f"radfed:{refusal.reason}:{refusal}") from refusal
    approvals, digest = Approvals(folder), job_digest(files)
    facts = gather(
        job,
        digest,
        dataset=site.dataset,
        kit=kit,
        metrics=leaving(job.task),
        seen=timestamp(),
        submitter=_submitter(meta),
    )
    facts = _sized(facts, approvals)
    decision = decide(approvals, site.approval, facts, date.today())
    if not decision.approved and facts.bytes_in_all is None and any(rule.max_bytes for rule in site.approval.standing):
        facts = _measured(facts, _MEASURE_AT_ONCE)
        decision = decide(approvals, site.approval, facts, date.today())
    if decision.approved:
        return decision.by
    approvals.wait_for(facts.model_copy(update={"changed": decision.changed}))
    if facts.bytes_in_all is None:
        threading.Thread(target=_measure_later, args=(approvals, digest), daemon=True).start()
    raise RefusedError(f"radfed:not_approved:{digest}")


def _site(name: str, kit: Path) -> tuple[Path, SiteSettings]:
    try:
        return site_folder(name, kit), site_settings(name, kit)
    except InvalidInputError as error:
        raise RefusedError("radfed:no_site:the startup kit is linked to no site that can be read") from error


def _submitter(meta: Mapping[str, object]) -> str | None:
    keys = (JobMetaKey.SUBMITTER_NAME.value, JobMetaKey.SUBMITTER_ORG.value, JobMetaKey.SUBMITTER_ROLE.value)
    named = [str(meta[key]) for key in keys if meta.get(key)]
    return ", ".join(named) or None


def _sized(facts: JobFacts, approvals: Approvals) -> JobFacts:
    """With the size that was measured when the job was here before."""
    grant = approvals.grant_of(facts.digest)
    for known in (approvals.pending_of(facts.digest), grant.facts if grant else None):
        if known is not None and known.parameters is not None and known.bytes_a_round is not None:
            return facts.with_size(known.parameters, known.bytes_a_round)
    return facts


def _measured(facts: JobFacts, timeout: float) -> JobFacts:
    counted = measure(facts.settings, timeout)
    return facts if counted is None else facts.with_size(*counted)


def _measure_later(approvals: Approvals, digest: str) -> None:
    """Complete what waits for a person, after the server has had its answer."""
    waiting = approvals.pending_of(digest)
    if waiting is not None:
        measured = _measured(waiting, _MEASURE_LATER)
        if approvals.pending_of(digest) is not None and approvals.grant_of(digest) is None:
            approvals.wait_for(measured)
