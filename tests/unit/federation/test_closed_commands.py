"""FLARE's own dispatch of a server's requests, at a site, with and without the commands closed."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from nvflare.apis.fl_constant import AdminCommandNames
from nvflare.fuel.f3.cellnet.core_cell import Message as CellMessage
from nvflare.fuel.sec.audit import AuditService
from nvflare.private.admin_defs import Message
from nvflare.private.defs import InfoCollectorTopic, RequestHeader, SysCommandTopic, TrainingTopic
from nvflare.private.fed.client.admin import FedAdminAgent
from nvflare.private.fed.client.admin_commands import AdminCommands
from nvflare.private.fed.client.client_req_processors import ClientRequestProcessors

from radfed.federation.closed_commands import CLOSED_TOPICS, close_job, close_parent, is_job_id

Ask = Callable[..., str]


class Engine:
    """As much of FLARE's client engine as its dispatcher and these commands use."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def new_context(self) -> "Engine":
        return self

    def __enter__(self) -> SimpleNamespace:
        return SimpleNamespace()

    def __exit__(self, *_: object) -> None:
        pass

    def delete_run(self, job_id: str) -> str:
        return f"deleted {self.root / job_id}"


@pytest.fixture
def agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FedAdminAgent:
    AuditService.initialize(str(tmp_path / "audit.log"))
    monkeypatch.setattr("nvflare.private.fed.client.training_cmds.ClientEngineInternalSpec", Engine)
    cell = SimpleNamespace(register_request_cb=lambda **_: None)
    made = FedAdminAgent("agent", cell, Engine(tmp_path))
    for processor in ClientRequestProcessors.request_processors:
        made.register_processor(processor)
    return made


def ask(agent: FedAdminAgent, topic: str, body: str = "", **headers: str) -> str:
    """Ask as a server that does not let the site check who asks."""
    request = Message(topic, body)
    for key, value in headers.items():
        request.set_header(key, value)
    reply: Any = agent._dispatch_request(CellMessage(payload=request)).payload
    return str(reply.body)


def test_flare_gives_any_file_to_a_server_that_asks_and_a_closed_site_does_not(
    agent: FedAdminAgent, tmp_path: Path
) -> None:
    secret = tmp_path / "secret.key"
    secret.write_text("the key of the pseudonyms")
    assert "the key of the pseudonyms" in ask(agent, SysCommandTopic.SHELL, f"cat {secret}")
    close_parent(agent)
    assert ask(agent, SysCommandTopic.SHELL, f"cat {secret}") == "invalid_request"


@pytest.mark.parametrize("topic", CLOSED_TOPICS)
def test_closed_commands_are_invalid_requests(agent: FedAdminAgent, topic: str) -> None:
    assert topic in agent.processors
    close_parent(agent)
    assert ask(agent, topic) == "invalid_request"


def test_what_a_federation_needs_stays_open(agent: FedAdminAgent) -> None:
    before = set(agent.processors)
    close_parent(agent)
    assert set(agent.processors) == before - set(CLOSED_TOPICS)
    assert {TrainingTopic.DEPLOY, TrainingTopic.START_JOB, TrainingTopic.ABORT} <= set(agent.processors)


def test_flare_deletes_any_folder_and_a_closed_site_only_a_jobs(agent: FedAdminAgent, tmp_path: Path) -> None:
    out = {RequestHeader.JOB_ID: "../../dataset"}
    assert "dataset" in ask(agent, TrainingTopic.DELETE_RUN, **out)
    close_parent(agent)
    assert ask(agent, TrainingTopic.DELETE_RUN, **out) == "the job's id is not allowed"
    assert str(tmp_path / "job-1") in ask(agent, TrainingTopic.DELETE_RUN, **{RequestHeader.JOB_ID: "job-1"})


def test_a_jobs_process_gives_no_error_texts() -> None:
    before = list(AdminCommands.commands)
    try:
        close_job()
        names = {command.get_command_name() for command in AdminCommands.commands}
        assert AdminCommandNames.SHOW_ERRORS not in names
        assert AdminCommandNames.ABORT in names
        assert InfoCollectorTopic.SHOW_ERRORS in CLOSED_TOPICS
    finally:
        AdminCommands.commands[:] = before


@pytest.mark.parametrize("text", ["", ".", "..", "../x", "/x", "a/b", "a\\b", "-x", None, 3, "x" * 200, "a\n"])
def test_a_path_is_no_job_id(text: object) -> None:
    assert is_job_id(text) is False


def test_flares_ids_are_job_ids() -> None:
    assert is_job_id("c78e7673-d992-4072-9e8d-e62e13277428")
    assert is_job_id("simulate_job")
