import io
import json
import logging
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

import pytest
from nvflare.apis.event_type import EventType
from nvflare.apis.fl_context import FLContext
from nvflare.apis.workspace import Workspace
from nvflare.fuel.utils.zip_utils import zip_directory_to_bytes
from nvflare.private.admin_defs import Message
from nvflare.private.defs import SysCommandTopic, TrainingTopic
from nvflare.security.logging import SECURE_LOGGING_VAR_NAME, secure_format_exception

from radfed.federation import guard
from radfed.federation.app_files import RefusedError, checked_job, files_of
from radfed.federation.guard import ApprovingDeployer, BoundedDeploy, judge
from radfed.federation.recipe import export_job
from radfed.job import Job, as_campaign, find_job
from radfed.site.approval import Approvals, job_digest
from radfed.site.config import init_site

Files = dict[str, bytes]
CLIENT, SERVER, SETTINGS = (
    f"config/{name}" for name in ("config_fed_client.json", "config_fed_server.json", "radfed.json")
)
META = {"submitter_name": "engineer@example.org", "submitter_org": "org", "submitter_role": "lead", "resource_spec": {}}


@pytest.fixture(scope="module")
def job() -> Job:
    return as_campaign(find_job("phantom_segmentation"), "campaign-1")


@pytest.fixture(scope="module")
def files(job: Job, tmp_path_factory: pytest.TempPathFactory) -> Files:
    folder = export_job(job, tmp_path_factory.mktemp("exported"))
    return files_of(zip_directory_to_bytes(str(folder / "app"), ""))


@pytest.fixture
def kit(tmp_path: Path) -> Path:
    """A kit of a site that has approved nothing."""
    kit = tmp_path / "kit"
    for name in ("local", "startup"):
        (kit / name).mkdir(parents=True)
    (kit / "startup/fed_client.json").write_text("{}")
    (kit / "local/privacy.json").write_text(json.dumps({"scopes": [{"name": "radfed"}]}))
    (kit / "local/radfed.json").write_text(json.dumps({"site": str(tmp_path / "site")}))
    init_site(tmp_path / "site", "site-a")
    return kit


@pytest.fixture(autouse=True)
def _no_measuring(monkeypatch: pytest.MonkeyPatch) -> None:
    # It loads torch in a process of its own; tests/integration/test_site_refusals.py does it.
    monkeypatch.setattr(guard, "measure", lambda _job, _timeout: None)


def zipped(files: Files) -> bytes:
    buffer = io.BytesIO()
    with ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def approve(kit: Path, files: Files) -> Approvals:
    """Let the guard gather the facts, and say yes to them."""
    approvals = Approvals(kit.parent / "site")
    with pytest.raises(RefusedError, match="not_approved"):
        judge("site-a", kit, "job-1", META, zipped(files))
    facts = approvals.pending_of(job_digest(files))
    assert facts is not None
    approvals.grant(facts, "dr. no")
    return approvals


def changed(content: bytes, change: Callable[[dict[str, object]], object]) -> bytes:
    parsed = json.loads(content)
    change(parsed)
    return json.dumps(parsed).encode()


def test_an_unapproved_job_is_refused_by_its_digest_and_waits_for_a_person(kit: Path, files: Files) -> None:
    with pytest.raises(RefusedError) as refused:
        judge("site-a", kit, "job-1", META, zipped(files))
    assert str(refused.value) == f"radfed:not_approved:{job_digest(files)}"
    [waiting] = Approvals(kit.parent / "site").pending()
    assert (waiting.campaign, waiting.submitter) == ("campaign-1", "engineer@example.org, org, lead")


def test_an_approved_job_may_run_however_its_zip_and_json_are_laid_out(kit: Path, files: Files) -> None:
    approve(kit, files)
    relaid = {name: content for name, content in files.items() if name == SETTINGS}
    relaid |= {name: json.dumps(json.loads(files[name])).encode() for name in (SERVER, CLIENT)}
    signed = relaid | {f"{folder}.__nvfl_sig.json": b"{}" for folder in ("", "config/", "custom/")}
    for app in (files, relaid, signed):
        assert judge("site-a", kit, "job-2", META, zipped(app)) == "dr. no"


def test_a_job_with_one_setting_changed_after_the_approval_is_refused(kit: Path, job: Job, files: Files) -> None:
    approve(kit, files)
    other = job.with_changes(local_steps=job.job.federation.local_steps + 1)
    app = files | {SETTINGS: other.model_dump_json(indent=2).encode() + b"\n"}
    with pytest.raises(RefusedError, match="not_approved"):
        judge("site-a", kit, "job-1", META, zipped(app))


def test_a_withdrawn_job_is_refused(kit: Path, files: Files) -> None:
    approve(kit, files).withdraw(job_digest(files), "me")
    with pytest.raises(RefusedError, match="not_approved"):
        judge("site-a", kit, "job-1", META, zipped(files))


def test_a_job_granted_while_others_are_counted_is_no_error(
    kit: Path, files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A person grants a job between the moment in which the waiting ones are listed and that in which they are read."""
    approvals = approve(kit, files)
    gone = kit.parent / "site/approvals/pending" / f"{'0' * 64}.json"
    listed = Path.glob
    monkeypatch.setattr(Path, "glob", lambda self, pattern: [*listed(self, pattern), gone])
    approvals.wait_for(approvals.granted()[0].facts)
    assert len(approvals.pending()) == 1


def test_a_grant_of_other_filters_lapses_and_the_waiting_job_says_why(kit: Path, files: Files) -> None:
    approvals = approve(kit, files)
    scope = {"name": "radfed", "task_result_filters": [{"path": "a.Weaker"}]}
    (kit / "local/privacy.json").write_text(json.dumps({"scopes": [scope]}))
    with pytest.raises(RefusedError, match="not_approved"):
        judge("site-a", kit, "job-1", META, zipped(files))
    [waiting] = approvals.pending()
    assert "Weaker" in waiting.changed[0]


def test_a_standing_approval_by_size_waits_for_the_count(
    kit: Path, files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    rule = "approval:\n  standing:\n  - {jobs: '.*', max_bytes: 600}\n"
    (kit.parent / "site/site.yaml").write_text(f"name: site-a\n{rule}")
    with pytest.raises(RefusedError, match="not_approved"):
        judge("site-a", kit, "job-1", META, zipped(files))
    monkeypatch.setattr(guard, "measure", lambda _job, _timeout: (25, 100))
    assert "standing" in judge("site-a", kit, "job-1", META, zipped(files))
    monkeypatch.setattr(guard, "measure", lambda _job, _timeout: (26, 101))
    (kit.parent / f"site/approvals/pending/{job_digest(files)}.json").unlink()
    with pytest.raises(RefusedError, match="not_approved"):
        judge("site-a", kit, "job-1", META, zipped(files))


ATTACKS: dict[str, tuple[Callable[[Files], Files], str]] = {
    "code": (lambda f: f | {"custom/train.py": b"print()"}, "not_codeless:custom/train.py"),
    "code elsewhere": (lambda f: f | {"config/sitecustomize.py": b""}, "not_codeless"),
    "another config": (lambda f: f | {"config/config_fed_client.yml": b"a: 1"}, "not_codeless"),
    "code in a signature's folder": (lambda f: f | {"custom/deep/.__nvfl_sig.json": b"{}"}, "not_codeless"),
    "path out": (lambda f: f | {"../../local/resources.json": b"{}"}, "not_codeless"),
    "absolute path": (lambda f: f | {"/etc/cron.d/x": b""}, "not_codeless"),
    "backslashes": (lambda f: f | {"config/..\\..\\x": b""}, "not_codeless"),
    "dots": (lambda f: f | {"config/..": b""}, "not_codeless"),
    "FLARE's own executor": (
        lambda f: (
            f
            | {
                CLIENT: changed(
                    f[CLIENT],
                    lambda c: c.update(
                        executors=[
                            {
                                "tasks": ["train"],
                                "executor": {
                                    "path": "nvflare.app_common.executors.client_api_executor.ClientAPIExecutor",
                                    "args": {"command": "python3 -c ..."},
                                },
                            }
                        ]
                    ),
                )
            }
        ),
        f"not_codeless:{CLIENT}",
    ),
    "component": (lambda f: f | {CLIENT: changed(f[CLIENT], lambda c: c.update(components=[{"id": "x"}]))}, CLIENT),
    "filter": (
        lambda f: f | {CLIENT: changed(f[CLIENT], lambda c: c.update(task_result_filters=[{"tasks": ["*"]}]))},
        CLIENT,
    ),
    "server's workflow": (lambda f: f | {SERVER: changed(f[SERVER], lambda c: c.update(workflows=[]))}, SERVER),
    "true for 1": (lambda f: f | {CLIENT: f[CLIENT].replace(b'"format_version": 2', b'"format_version": 2.0')}, CLIENT),
    "a key twice": (lambda f: f | {CLIENT: f[CLIENT].replace(b"{", b'{"components": [],', 1)}, "bad_job"),
    "no number": (lambda f: f | {CLIENT: f[CLIENT].replace(b"0.1", b"NaN")}, "bad_job"),
    "too deep": (lambda f: f | {CLIENT: b"[" * 100_000}, "bad_job"),
    "no text": (lambda f: f | {CLIENT: b"\xff"}, "bad_job"),
    "missing": (lambda f: {name: c for name, c in f.items() if name != SERVER}, f"bad_job:{SERVER} is missing"),
    "unknown setting": (lambda f: f | {SETTINGS: changed(f[SETTINGS], lambda c: c.update(script="/etc"))}, "bad_job"),
    "laid out otherwise": (lambda f: f | {SETTINGS: changed(f[SETTINGS], lambda c: None)}, "bad_job"),
    "a default left out": (lambda f: f | {SETTINGS: changed(f[SETTINGS], lambda c: c.pop("campaign"))}, "bad_job"),
    "too large": (lambda f: f | {SETTINGS: b" " * 1_000_001}, "larger than 1000000 bytes"),
    "too many": (lambda f: f | {f"config/{n}": b"" for n in range(40)}, "bad_job"),
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_what_radfed_would_not_write_is_refused_although_all_jobs_are_approved(
    kit: Path, files: Files, attack: str
) -> None:
    (kit.parent / "site/site.yaml").write_text("name: site-a\napproval: {required: false}\n")
    change, says = ATTACKS[attack]
    assert judge("site-a", kit, "job-1", META, zipped(files))
    with pytest.raises(RefusedError) as refused:
        judge("site-a", kit, "job-1", META, zipped(change(files)))
    assert says in str(refused.value)
    assert str(refused.value).startswith(("radfed:not_codeless:", "radfed:bad_job:"))
    assert str(kit.parent) not in str(refused.value)


def _with(info: ZipInfo, content: bytes) -> Callable[[Files], bytes]:
    def build(files: Files) -> bytes:
        buffer = io.BytesIO(zipped(files))
        with ZipFile(buffer, "a", ZIP_DEFLATED) as archive:
            archive.writestr(info, content)
        return buffer.getvalue()

    return build


def _link() -> ZipInfo:
    info = ZipInfo("custom/.__nvfl_sig.json")
    info.external_attr = 0o120777 << 16
    return info


def _bomb(files: Files) -> bytes:
    info = ZipInfo(f"custom/{'.__nvfl_sig.json'}")
    info.compress_type = ZIP_DEFLATED
    archive = _with(info, bytes(50_000_000))(files)
    assert len(archive) < 100_000
    return archive


@pytest.mark.parametrize(
    "build",
    [
        _with(_link(), b"/etc/passwd"),
        _bomb,
        lambda files: zipped(files)[:-40],
        lambda files: zipped(files).replace(b"PK\x01\x02", b"PK\x01\x03"),
        lambda files: b"",
        lambda files: b"no zip",
    ],
)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_an_archive_that_lies_is_refused(kit: Path, files: Files, build: Callable[[Files], bytes]) -> None:
    with pytest.raises(RefusedError, match=r"radfed:(bad_job|not_codeless)"):
        judge("site-a", kit, "job-1", META, build(files))


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_name_given_twice_is_refused(kit: Path, files: Files) -> None:
    with pytest.raises(RefusedError, match="same name"):
        judge("site-a", kit, "job-1", META, _with(ZipInfo(CLIENT), b"{}")(files))


@pytest.mark.parametrize(
    ("job_id", "meta"),
    [
        ("../other", META),
        ("", META),
        ("job-1", META | {"resource_spec": {"site-a": {"docker": {"image": "evil"}}}}),
        ("job-1", META | {"launcher_spec": {"site-a": {"slurm": {}}}}),
    ],
)
def test_what_the_server_says_of_a_job_brings_no_code_either(
    kit: Path, files: Files, job_id: str, meta: dict[str, object]
) -> None:
    (kit.parent / "site/site.yaml").write_text("name: site-a\napproval: {required: false}\n")
    with pytest.raises(RefusedError, match="radfed:"):
        judge("site-a", kit, job_id, meta, zipped(files))


def test_a_kit_without_a_site_runs_nothing(kit: Path, files: Files) -> None:
    (kit / "local/radfed.json").unlink()
    with pytest.raises(RefusedError) as refused:
        judge("site-a", kit, "job-1", META, zipped(files))
    assert str(refused.value).startswith("radfed:no_site:")
    assert str(kit) not in str(refused.value)


def deployed(kit: Path, app: bytes) -> tuple[str, Path]:
    """What FLARE's client gets from the guard, and the folder in which the job would lie."""
    context = FLContext()
    context.put("__identity_name__", "site-a", private=False, sticky=False)
    workspace = Workspace(root_dir=str(kit), site_name="site-a")
    text = ApprovingDeployer().deploy(workspace, "job-1", dict(META), "app", app, context)
    return text, Path(workspace.get_run_dir("job-1"))


def test_nothing_of_a_refused_job_is_unpacked(kit: Path, files: Files) -> None:
    text, run = deployed(kit, zipped(files))
    assert text == f"radfed:not_approved:{job_digest(files)}"
    assert not run.exists()


def test_an_approved_job_is_deployed_by_flare(kit: Path, files: Files) -> None:
    approve(kit, files)
    text, run = deployed(kit, zipped(files))
    assert text == ""
    assert (run / "app_site-a/config/radfed.json").read_bytes() == files[SETTINGS]


def test_a_guard_that_fails_refuses_and_names_no_path(
    kit: Path, files: Files, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> str:
        raise FileNotFoundError(str(kit / "secret.key"))

    monkeypatch.setattr(guard, "judge", fail)
    with caplog.at_level(logging.CRITICAL):
        text, run = deployed(kit, zipped(files))
    assert text == "radfed:guard_failed:FileNotFoundError"
    assert not run.exists()


def test_what_flare_itself_raises_at_deployment_names_no_path(
    kit: Path, files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    approve(kit, files)

    def fail(*_: object) -> None:
        raise OSError(f"no space left: {kit}")

    monkeypatch.setattr("nvflare.private.fed.utils.app_deployer.unzip_all_from_bytes", fail)
    text, _ = deployed(kit, zipped(files))
    assert text.startswith("radfed:guard_failed:")
    assert str(kit) not in text


def test_jobs_that_are_shipped_pass_the_guards_own_check(tmp_path: Path) -> None:
    for name in ("phantom_segmentation", "hippocampus_segmentation"):
        folder = export_job(as_campaign(find_job(name)), tmp_path / name)
        assert checked_job(files_of(zip_directory_to_bytes(str(folder / "app"), ""))).job.name == name


def test_the_guard_loads_neither_torch_nor_monai() -> None:
    """The client's parent process lives for months beside the site's own work."""
    code = "import json, sys, radfed.federation.guard, radfed.federation.egress; print(json.dumps(list(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(json.loads(done.stdout))
    assert "nvflare" in loaded
    assert not {"torch", "monai", "onnxruntime", "matplotlib"} & loaded


def test_errors_of_flare_reach_the_server_without_their_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(SECURE_LOGGING_VAR_NAME, raising=False)
    error = FileNotFoundError("/home/site/secret.key")
    assert "secret.key" in secure_format_exception(error)
    ApprovingDeployer()
    assert "secret.key" not in secure_format_exception(error)
    monkeypatch.delenv(SECURE_LOGGING_VAR_NAME)


def test_the_guard_closes_commands_as_soon_as_flare_has_opened_them() -> None:
    topics = (SysCommandTopic.SHELL, SysCommandTopic.REPORT_VERSION, TrainingTopic.DEPLOY)
    agent = SimpleNamespace(processors=dict.fromkeys(topics))
    context = FLContext()
    context.put("__engine__", SimpleNamespace(admin_agent=agent), private=True, sticky=False)
    ApprovingDeployer().handle_event(EventType.SYSTEM_START, context)
    assert SysCommandTopic.SHELL not in agent.processors
    assert SysCommandTopic.REPORT_VERSION in agent.processors
    assert isinstance(agent.processors[TrainingTopic.DEPLOY], BoundedDeploy)


def test_a_bomb_is_refused_before_flare_unpacks_anything(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    unpacked: list[int] = []
    monkeypatch.setattr(
        "nvflare.private.fed.client.training_cmds.unzip_all_from_bytes", lambda data, _into: unpacked.append(len(data))
    )
    monkeypatch.setattr("nvflare.private.fed.client.training_cmds.ClientEngineInternalSpec", SimpleNamespace)
    startup = SimpleNamespace(workspace="nowhere")
    engine = SimpleNamespace(args=startup, get_client_name=lambda: "site-a", deploy_app=lambda **_: "")
    request = Message(TrainingTopic.DEPLOY, _bomb(files))
    request.set_header("job_meta", dict(META))
    reply = BoundedDeploy().process(request, engine)
    assert reply.body.startswith("radfed:bad_job:")
    assert unpacked == []
