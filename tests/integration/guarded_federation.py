"""A federation of real processes whose sites guard themselves, and whose server is looser than any of ours."""

import json
import secrets
import shutil
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nvflare.app_common.default_component_policy import DEFAULT_CLASS_ALLOW_LIST
from tests.integration.federation_host import SERVER, LoopbackFederation
from tests.integration.federation_processes import wait_for

from radfed.federation.recipe import export_job
from radfed.federation.sightings import JobStatus
from radfed.job import Job, as_campaign

STRICT, OPEN = "north", "valley"
"""A site that asks a person about every job, and one with a standing approval of all."""

FLARES_EXECUTOR = "nvflare.app_common.executors.client_api_executor.ClientAPIExecutor"
Json = dict[str, Any]


class GuardedFederation(LoopbackFederation):
    """radfed's kits; but the server's administrators allow shipped code, and any class runs there."""

    def provision(self) -> None:
        super().provision()
        local = self.kit(SERVER) / "local"
        rights = {"format_version": "1.0", "permissions": {"project_admin": "any", "lead": "any"}}
        (local / "authorization.json").write_text(json.dumps(rights))
        edit(local / "resources.json", lambda content: content.update(class_allow_list=["*"]))

    def join(self, site: str, dataset: Path, standing: str | None = ".*") -> None:
        super().join(site, dataset, standing=None if site == STRICT else standing)


class StockFederation(GuardedFederation):
    """The same with sites as FLARE provisions them: no guard, FLARE's list of classes and its usual executor."""

    def provision(self) -> None:
        super().provision()
        for site in self.sites:
            edit(self.kit(site) / "local" / "resources.json", _as_flare_has_it)


def _as_flare_has_it(content: Json) -> None:
    content["components"] = [entry for entry in content["components"] if entry["id"] != "app_deployer"]
    content["class_allow_list"] = [*DEFAULT_CLASS_ALLOW_LIST, FLARES_EXECUTOR]


@dataclass(frozen=True)
class Attack:
    """A job that somebody changed before it was submitted."""

    name: str
    change: Callable[[Path, Path], None]
    refused: str


def edit(path: Path, change: Callable[[Json], object]) -> None:
    """Change a JSON file in place."""
    content = json.loads(path.read_text(encoding="utf-8"))
    change(content)
    path.write_text(json.dumps(content, indent=2), encoding="utf-8")


def exported(job: Job, folder: Path) -> Path:
    """A job as a campaign of its own, exported."""
    return export_job(as_campaign(job), folder)


def run(
    federation: LoopbackFederation,
    folder: Path,
    enough: Callable[[JobStatus], bool] = lambda _: False,
    seconds: float = 120,
) -> JobStatus:
    """Submit a job and wait until FLARE is done with it, or until enough was seen; then it is aborted.

    Args:
        federation: where.
        folder: the exported job.
        enough: asked again and again.
        seconds: to wait at most.
    """
    with federation.console() as console:
        job_id = console.submit(folder, secrets.token_hex(8))

        def seen() -> JobStatus | None:
            status = console.status(job_id)
            # FLARE notes the sites' answers only after it has set the status of a job that nobody takes.
            answered = status.deployed or status.status != "FINISHED:FAILED_TO_RUN"
            return status if (status.ended and answered) or enough(status) else None

        status = wait_for(seen, seconds, f"end of job {job_id}", every=0.5)
        if not status.ended:
            console.abort(job_id)
        return status


def assert_nothing_of_it_is_here(federation: LoopbackFederation, job: JobStatus, site: str) -> None:
    """No folder of a job in a site's workspace, and nothing of the site in what the server was told."""
    assert not (federation.kit(site) / job.job_id).exists()
    told = json.dumps(dict(job.deployed))
    for secret in (str(federation.root), socket.gethostname(), str(Path.home())):
        assert secret not in told


def executor_with(args: Json) -> Callable[[Path, Path], None]:
    """FLARE's own executor in the place of radfed's."""

    def change(config: Path, marker: Path) -> None:
        filled = json.loads(json.dumps(args).replace("MARKER", str(marker)))
        entry = {"tasks": ["*"], "executor": {"path": FLARES_EXECUTOR, "args": filled}}
        edit(config / "config_fed_client.json", lambda content: content.update(executors=[entry]))

    return change


RUNS_A_COMMAND = executor_with(
    {
        "execution_mode": "external_process",
        "command": ["python3", "-c", "open('MARKER', 'w').write('any code')"],
        "launch_timeout": 10.0,
    }
)


def runs_a_script_of_the_site(config: Path, marker: Path) -> None:
    """A script that lies on the site's disk; the job names its path."""
    script = marker.with_suffix(".py")
    script.write_text(f"open({str(marker)!r}, 'w').write('any code')\n")
    executor_with({"execution_mode": "in_process", "task_script_path": str(script)})(config, marker)


def ships_code(config: Path, _marker: Path) -> None:
    """Python in custom/."""
    custom = config.parent / "custom"
    custom.mkdir(exist_ok=True)
    (custom / "sitecustomize.py").write_text("raise SystemExit\n")


def _component(path: str) -> Json:
    return {"id": "extra", "path": path, "args": {}}


def names_a_component(config: Path, _marker: Path) -> None:
    """A class outside the short list beside the executor; FLARE's own list has it."""
    streamer = _component("nvflare.app_common.logging.job_log_streamer.JobLogStreamer")
    edit(config / "config_fed_client.json", lambda content: content.update(components=[streamer]))


def names_a_filter(config: Path, _marker: Path) -> None:
    """A filter of the job, which would run behind those of the site."""
    entry = {"tasks": ["*"], "filters": [_component("nvflare.app_common.filters.exclude_vars.ExcludeVars")]}
    edit(config / "config_fed_client.json", lambda content: content.update(task_result_filters=[entry]))


def nests_a_class(config: Path, _marker: Path) -> None:
    """A class in the arguments of an allowed one."""
    nested = {"path": "subprocess.Popen", "args": {"args": ["true"]}}
    edit(
        config / "config_fed_client.json",
        lambda content: content["executors"][0]["executor"].update(args={"helper": nested}),
    )


def changes_the_servers_part(config: Path, _marker: Path) -> None:
    """Another workflow on the server: what it asks of a site is no longer radfed's."""
    entry = {"id": "controller", "path": "nvflare.app_common.workflows.cross_site_model_eval.CrossSiteModelEval"}
    edit(config / "config_fed_server.json", lambda content: content.update(workflows=[entry]))


ATTACKS = (
    Attack("command", RUNS_A_COMMAND, "radfed:not_codeless:config/config_fed_client.json"),
    Attack("script", runs_a_script_of_the_site, "radfed:not_codeless:config/config_fed_client.json"),
    Attack("code", ships_code, "radfed:not_codeless:custom/sitecustomize.py"),
    Attack("component", names_a_component, "radfed:not_codeless:config/config_fed_client.json"),
    Attack("filter", names_a_filter, "radfed:not_codeless:config/config_fed_client.json"),
    Attack("nested", nests_a_class, "radfed:not_codeless:config/config_fed_client.json"),
    Attack("server", changes_the_servers_part, "radfed:not_codeless:config/config_fed_server.json"),
)


def attacked(folder: Path, attack: Callable[[Path, Path], None], into: Path, marker: Path) -> Path:
    """A copy of an exported job, changed."""
    copy = shutil.copytree(folder, into / folder.name)
    [config] = copy.glob("*/config")
    attack(config, marker)
    return copy
