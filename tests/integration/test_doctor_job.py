"""The doctor with a real job: steps in a process of its own, timeouts that FLARE's own classes read."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from radfed.cli.main import app
from radfed.dataset.ingest import IngestSettings, ingest
from radfed.dataset.splits import SplitSettings
from radfed.imaging.phantoms import SCANNERS, write_cohort
from radfed.job import find_job
from radfed.site.config import init_site
from radfed.site.doctor.measurement import MeasurementError, measure
from radfed.site.kit import write_kit_link
from radfed.site.timeout_files import write_timeouts
from radfed.site.timeouts import Place, derive

sys.path.insert(0, str(Path(__file__).parents[1] / "unit" / "site"))
from doctor_world import Authority, serve, write_kit  # type: ignore[import-not-found]

HOST = "127.0.0.1"
JOB = "phantom_segmentation"


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A site with a small dataset."""
    job = find_job(JOB)
    write_cohort(tmp_path / "raw", "site-a", SCANNERS["north"], 6, seed=1)
    split = SplitSettings(validation=0.3, test=0.2, seed=3)
    how = IngestSettings("site-a", bytes(32), tmp_path / "site.csv", task=job.task, split=split)
    ingest(tmp_path / "raw", tmp_path / "data", how)
    init_site(tmp_path / "site", "site-a")
    file = tmp_path / "site" / "site.yaml"
    file.write_text(
        file.read_text().replace("dataset: null", "dataset: ../data").replace("threads: null", "threads: 1")
    )
    return tmp_path / "site"


def test_a_whole_examination_ends_well_and_writes_timeouts(site: Path, tmp_path: Path) -> None:
    authority = Authority()
    server = authority.issue("server", names=(HOST,))
    with serve(authority.root, server, tmp_path / "server") as running:
        kit = write_kit(
            tmp_path / "kit", authority.root, authority.issue("site-a"), port=running.port, probe_port=running.port
        )
        write_kit_link(kit, site)
        result = CliRunner().invoke(app, ["site", "doctor", str(site), "--job", JOB, "--write", "--json"])
    assert result.exit_code == 0, result.stderr
    report = json.loads(result.stdout)
    assert report["ok"]
    predicted = report["predicted"]
    assert predicted["model_bytes"] == 4 * 137_343
    parts = ("upload_seconds", "download_seconds", "training_seconds", "evaluation_seconds")
    assert predicted["round_seconds"] == pytest.approx(sum(predicted[part] for part in parts), abs=0.01)
    assert {finding["check"] for finding in report["findings"]} >= {"prediction", "bandwidth", "memory", "dataset"}
    assert report["written"] == ["local/radfed__resources.json", "local/comm_config.json"]
    assert (kit / "local" / "radfed__resources.json").is_file()


def test_a_job_that_cannot_be_trained_here_says_why(site: Path, tmp_path: Path) -> None:
    (tmp_path / "data" / "dataset.json").unlink()
    with pytest.raises(MeasurementError, match="not a prepared dataset"):
        measure(find_job(JOB), site / "site.yaml")


_READ = """
import json, sys
from argparse import Namespace
from nvflare.apis.workspace import Workspace
from nvflare.fuel.f3.comm_config import CommConfigurator
from nvflare.fuel.utils.app_config_utils import get_positive_float_var
from nvflare.private.fed.app.fl_conf import FLClientStarterConfiger
kit, job = sys.argv[1:]
options = ["secure_train=true", "uid=site-a", "org=radfed", "config_folder=config"]
given = {"sp_scheme": "grpc", "sp_target": "a:1", "parent_url": "tcp://a:2", "parent_conn_sec": "clear"}
arguments = Namespace(workspace=kit, job_id=job or None, set=options, **given)
conf = FLClientStarterConfiger(Workspace(kit, "site-a", "config"), arguments, options)
conf.configure()
client = conf.base_deployer.create_fed_client(arguments)
link = CommConfigurator()
print(json.dumps({
    "communication_timeout": client.communicator.timeout,
    "maint_msg_timeout": client.communicator.maint_msg_timeout,
    "streaming_ack_progress_timeout": link.get_streaming_ack_progress_timeout(60.0),
    "streaming_ack_wait": link.get_streaming_ack_wait(300),
    "streaming_read_timeout": link.get_streaming_read_timeout(300),
    "streaming_send_timeout": link.get_streaming_send_timeout(30.0),
    "sfm_send_stall_timeout": link.get_sfm_send_stall_timeout(45.0),
    **{name: get_positive_float_var(name, None) for name in (
        "np_min_download_timeout", "np_streaming_per_request_timeout", "tensor_min_download_timeout",
        "tensor_streaming_per_request_timeout", "max_runner_sync_timeout")},
}))
"""


@pytest.mark.parametrize("job", ["", "a-job"], ids=["client", "job process"])
def test_flare_reads_every_timeout_that_is_written(tmp_path: Path, job: str) -> None:
    authority = Authority()
    kit = write_kit(tmp_path / "kit", authority.root, authority.issue("site-a"))
    resources = json.loads((kit / "local" / "resources.json").read_text())
    # The deployer is not ours to build here.
    (kit / "local" / "resources.json").write_text(json.dumps({**resources, "components": []}))
    timeouts = derive(
        round_s=60, evaluation_s=5, upload_bytes_per_s=2e3, download_bytes_per_s=1e3, model_bytes=10**9, latency_s=1
    )
    write_timeouts(kit, timeouts)
    done = subprocess.run([sys.executable, "-c", _READ, str(kit), job], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    read = json.loads(done.stdout.splitlines()[-1])
    written = {timeout.name: timeout.seconds for timeout in timeouts.site}
    assert read == written
    assert all(timeout.seconds > timeout.default for timeout in timeouts.site)
    assert {timeout.place for timeout in timeouts.site} == {Place.CLIENT, Place.LINK, Place.VARIABLE}
