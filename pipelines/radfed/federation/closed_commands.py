"""What a site's FLARE does not do for its server, whoever asks.

FLARE lets the server's administrators ask a site for files, for its environment and for error texts. The site's
``authorization.json`` is asked only if the server says in its message that it should be (2.9.0: the header
``require_authz``), so it binds honest servers alone. Here the commands themselves are taken away.
"""

import re

from nvflare.apis.fl_constant import AdminCommandNames
from nvflare.private.admin_defs import Message, error_reply
from nvflare.private.defs import InfoCollectorTopic, RequestHeader, SysCommandTopic, TrainingTopic
from nvflare.private.fed.client.admin import FedAdminAgent
from nvflare.private.fed.client.admin_commands import AdminCommands
from nvflare.private.fed.client.training_cmds import DeleteRunNumberProcessor

CLOSED_TOPICS = (SysCommandTopic.SHELL, SysCommandTopic.REPORT_ENV, InfoCollectorTopic.SHOW_ERRORS)
"""Read any file; say where the workspace lies; give the texts of errors, in which paths and names of cases may be."""

_JOB_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,127}")


def is_job_id(text: object) -> bool:
    """Whether this can be FLARE's id of a job; anything else might be a path."""
    return isinstance(text, str) and _JOB_ID.fullmatch(text) is not None


def close_parent(agent: FedAdminAgent) -> None:
    """Take the commands away from the client's parent process."""
    for topic in CLOSED_TOPICS:
        agent.processors.pop(topic, None)
    agent.processors[TrainingTopic.DELETE_RUN] = DeleteOwnRun()


def close_job() -> None:
    """Take the command for error texts away from a job's process, which the server can ask directly."""
    open_ones = [c for c in AdminCommands.commands if c.get_command_name() != AdminCommandNames.SHOW_ERRORS]
    # In place: FLARE's command agent holds the same list.
    AdminCommands.commands[:] = open_ones


class DeleteOwnRun(DeleteRunNumberProcessor):  # type: ignore[misc] # nvflare has no types
    """Deletes a job's folder in the workspace, and no other folder: FLARE takes any path for a job's id."""

    def process(self, req: Message, app_ctx: object) -> Message:
        """Delete the folder, if the id is one."""
        if not is_job_id(req.get_header(RequestHeader.JOB_ID)):
            return error_reply("the job's id is not allowed")
        return super().process(req, app_ctx)
