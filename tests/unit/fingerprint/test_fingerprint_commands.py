"""The commands around fingerprints, and the job that makes one at a site's door."""

import io
import json
from pathlib import Path
from zipfile import ZipFile

import pytest

# pytest puts this folder on the path, mypy does not.
from statistics_data import organ_task, record_task, write_records  # type: ignore[import-not-found]
from typer.testing import CliRunner

from radfed.cli.main import app
from radfed.dataset.fingerprint import fingerprint
from radfed.dataset.fingerprint_content import Fingerprint, SiteFingerprint, pool
from radfed.dataset.fingerprint_rules import Rules
from radfed.dataset.layout import Dataset
from radfed.errors import FederationError, GateError, InvalidInputError
from radfed.federation.app_files import RefusedError, checked_job
from radfed.federation.campaign_context import Clock, Orders
from radfed.federation.guard import judge
from radfed.federation.recipe import ALLOWED_CLASSES, export_job
from radfed.federation.sightings import JobStatus, LedgerPage, Life
from radfed.federation.statistics_job import fingerprint_job
from radfed.federation.statistics_submit import submit_fingerprint
from radfed.job import Job, find_job
from radfed.site.approval import Approvals, job_digest, read_app
from radfed.site.approval_text import sentences
from radfed.site.config import init_site

Files = dict[str, bytes]


@pytest.fixture(scope="module")
def job() -> Job:
    return fingerprint_job(organ_task())


@pytest.fixture(scope="module")
def files(job: Job, tmp_path_factory: pytest.TempPathFactory) -> Files:
    return read_app(export_job(job, tmp_path_factory.mktemp("exported")))


@pytest.fixture
def kit(tmp_path: Path) -> Path:
    (tmp_path / "kit/local").mkdir(parents=True)
    (tmp_path / "kit/startup").mkdir()
    (tmp_path / "kit/startup/fed_client.json").write_text("{}")
    (tmp_path / "kit/local/privacy.json").write_text(json.dumps({"scopes": [{"name": "radfed"}]}))
    (tmp_path / "kit/local/radfed.json").write_text(json.dumps({"site": str(tmp_path / "site")}))
    init_site(tmp_path / "site", "site-a")
    return tmp_path / "kit"


def zipped(files: Files) -> bytes:
    buffer = io.BytesIO()
    with ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def changed(files: Files, name: str, **updates: object) -> Files:
    return files | {name: json.dumps(json.loads(files[name]) | updates).encode()}


def test_the_job_carries_settings_and_two_classes_of_radfed(files: Files) -> None:
    assert set(files) == {
        f"config/{name}" for name in ("config_fed_client.json", "config_fed_server.json", "radfed.json")
    }
    paths = {entry["path"] for entry in json.loads(files["config/config_fed_server.json"])["workflows"]}
    paths |= {entry["executor"]["path"] for entry in json.loads(files["config/config_fed_client.json"])["executors"]}
    assert paths < set(ALLOWED_CLASSES)
    assert all(path.startswith("radfed.federation.statistics") for path in paths)
    assert len(paths) == 2


def test_the_guard_rebuilds_it_and_refuses_what_is_not_the_same(files: Files, job: Job) -> None:
    assert checked_job(files) == job
    training = read_app_of_training()
    for name in ("config/config_fed_client.json", "config/config_fed_server.json"):
        # Settings of a fingerprint must not start a training, nor the other way round.
        with pytest.raises(RefusedError, match="not_codeless"):
            checked_job(files | {name: training[name]})
        with pytest.raises(RefusedError, match="not_codeless"):
            checked_job(training | {name: files[name]})
    filters = [{"path": "radfed.federation.egress.EgressFilter"}]
    with pytest.raises(RefusedError, match="not_codeless"):
        checked_job(changed(files, "config/config_fed_client.json", task_result_filters=filters))


def read_app_of_training() -> Files:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        return read_app(export_job(find_job("phantom_segmentation"), Path(folder)))


def test_it_needs_a_person_who_is_told_what_leaves(files: Files, kit: Path) -> None:
    with pytest.raises(RefusedError, match="not_approved"):
        judge("site-a", kit, "job-1", {}, zipped(files))
    approvals = Approvals(kit.parent / "site")
    facts = approvals.pending_of(job_digest(files))
    assert facts is not None
    assert facts.network == "none"
    assert facts.bytes_in_all
    told = dict(sentences(facts))
    assert "Nothing is trained" in told["What is done"]
    assert "foreground.mr" in told["What leaves, once"]
    assert "What is trained" not in told
    approvals.grant(facts, "dr. yes")
    assert judge("site-a", kit, "job-2", {}, zipped(files)) == "dr. yes"


@pytest.mark.parametrize(("purposes", "runs"), [("", False), ("    purposes: [fingerprint]\n", True)])
def test_a_standing_approval_of_trainings_is_none_of_fingerprints(
    files: Files, kit: Path, purposes: str, runs: bool
) -> None:
    rule = f"name: site-a\napproval:\n  standing:\n  - jobs: .*\n{purposes}"
    (kit.parent / "site" / "site.yaml").write_text(rule)
    if runs:
        assert "standing" in judge("site-a", kit, "job-1", {}, zipped(files))
    else:
        with pytest.raises(RefusedError, match="not_approved"):
            judge("site-a", kit, "job-1", {}, zipped(files))


class Flare:
    """A server that ends each submitted job as it was told to."""

    def __init__(self, *endings: JobStatus, result: Fingerprint | None = None) -> None:
        self.endings, self.result, self.submitted = list(endings), result, 0

    def sites(self) -> tuple[str, ...]:
        return ("north", "south")

    def submit(self, folder: Path, token: str, *, name: str | None = None, mandatory: object = None) -> str:
        assert mandatory == ("north", "south")
        assert (folder / "meta.json").is_file()
        self.submitted += 1
        return f"job-{self.submitted}"

    def status(self, job_id: str) -> JobStatus:
        return self.endings[self.submitted - 1]

    def ledger(self, job_id: str, after: int = 0) -> LedgerPage:
        return LedgerPage(Life.GONE)

    def abort(self, job_id: str) -> bool:
        return True

    def download(self, job_id: str, into: Path) -> Path | None:
        if self.result is None:
            return None
        into.mkdir()
        (into / "fingerprint.json").write_text(self.result.model_dump_json())
        return into


def ended(**deployed: str) -> JobStatus:
    return JobStatus("job", "fingerprint", "FINISHED:COMPLETED", deployed or {"north": "OK", "south": "OK"})


def made() -> Fingerprint:
    return Fingerprint(
        task="made_up_organs", task_digest="0" * 64, sites={}, pooled=SiteFingerprint(), radfed_version="1"
    )


WAITING = ended(north="OK", south="radfed:not_approved:" + "a" * 64)
NO_TIME = Clock(now=iter(range(10**6)).__next__, sleep=lambda _: None)


def test_it_is_submitted_again_until_every_site_approved(job: Job, tmp_path: Path) -> None:
    told: list[str] = []
    flare = Flare(WAITING, WAITING, ended(), result=made())
    found = submit_fingerprint(job, flare, tmp_path / "run", told.append, clock=NO_TIME)
    assert found == made()
    assert flare.submitted == 3
    assert [text for text in told if "waiting for approval at south" in text]
    assert Fingerprint.read_json(tmp_path / "run") == made()
    assert not list((tmp_path / "run").glob(".job*"))


def test_approval_that_does_not_come_in_time_ends_it(job: Job, tmp_path: Path) -> None:
    with pytest.raises(GateError, match="no approval at south"):
        submit_fingerprint(job, Flare(WAITING), tmp_path, print, Orders(approval_timeout=0.0), NO_TIME)


def test_a_refusal_for_good_or_no_result_is_an_error(job: Job, tmp_path: Path) -> None:
    refused = ended(north="radfed:not_codeless:x", south="OK")
    with pytest.raises(GateError, match="no approval can mend it: north: not_codeless"):
        submit_fingerprint(job, Flare(refused), tmp_path / "a", print, clock=NO_TIME)
    with pytest.raises(FederationError, match="without a fingerprint"):
        submit_fingerprint(job, Flare(ended()), tmp_path / "b", print, clock=NO_TIME)
    with pytest.raises(InvalidInputError, match="other settings"):
        submit_fingerprint(fingerprint_job(record_task()), Flare(ended()), tmp_path / "a", print, clock=NO_TIME)


def test_a_site_sees_what_it_would_tell(tmp_path: Path) -> None:
    dataset = write_records(tmp_path, "north")
    (tmp_path / "task.yaml").write_text(record_task().to_yaml())
    arguments = ["dataset", "fingerprint", str(dataset), "--task", str(tmp_path / "task.yaml"), "--json"]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    told = SiteFingerprint.check(json.loads(done.stdout), "stdout")
    assert told == fingerprint(Dataset.read(dataset), record_task(), Rules(5))
    init_site(tmp_path / "site", "north")
    (tmp_path / "site/site.yaml").write_text("name: north\nstatistics:\n  min_count: 50\n")
    done = CliRunner().invoke(app, [*arguments, "--site", str(tmp_path / "site")])
    assert json.loads(done.stdout)["groups"]["class"] == {"well": 185, "ill": 55}


def test_the_plan_command_writes_the_contract(tmp_path: Path) -> None:
    dataset = Dataset.read(write_records(tmp_path, "north"))
    own = fingerprint(dataset, record_task(), Rules(5))
    found = made().model_copy(
        update={"task": "made_up_records", "sites": {"north": own}, "pooled": pool({"north": own})}
    )
    (tmp_path / "fingerprint.json").write_text(found.model_dump_json())
    (tmp_path / "task.yaml").write_text(record_task().to_yaml())
    out = tmp_path / "out" / "task.yaml"
    done = CliRunner().invoke(
        app, ["job", "plan", str(tmp_path), "--task", str(tmp_path / "task.yaml"), "--out", str(out)]
    )
    assert done.exit_code == 0, done.output
    assert "class_weights" in out.read_text().split("name:")[0]
    assert (out.parent / "plan.json").is_file()


def test_a_fingerprint_without_a_task_is_no_job(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["job", "export", "fingerprint", "--out", str(tmp_path)])
    assert done.exit_code == 2
    assert "needs --task" in done.output
    done = CliRunner().invoke(
        app, ["job", "export", "fingerprint", "--task", "phantom_segmentation", "--out", str(tmp_path), "--json"]
    )
    assert done.exit_code == 0, done.output
    assert checked_job(read_app(Path(json.loads(done.stdout)["job"]))).purpose == "fingerprint"
