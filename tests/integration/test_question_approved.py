"""A validation between real processes: asked for, approved, scored at home, signed, logged and brought home."""

import threading
from pathlib import Path

import pytest
import yaml
from tests.integration.federation_data import tiny_job, write_datasets
from tests.integration.federation_host import LoopbackFederation
from tests.integration.question_release import write_release

from radfed.federation.campaign_context import Orders
from radfed.federation.question import ANSWERS, Told, question_job
from radfed.federation.single_submit import submit_once
from radfed.metrics.signed import SITES, checked_statement, read_statements
from radfed.site.egress import Sent, verify
from radfed.task import SegmentationTask

NAMES = ("north", "valley")


class _AskingFederation(LoopbackFederation):
    """Sites that approve no job without a person; the second has fetched no release."""

    releases: Path

    def join(self, site: str, dataset: Path, standing: str | None = None) -> None:
        super().join(site, dataset, None)
        file = self.site_folder(site) / "site.yaml"
        place = self.releases if site == NAMES[0] else self.releases / "none"
        settings = yaml.safe_load(file.read_text(encoding="utf-8")) | {"releases": str(place)}
        file.write_text(yaml.safe_dump(settings), encoding="utf-8")


@pytest.mark.slow
def test_a_question_is_approved_answered_signed_and_logged(tmp_path: Path) -> None:
    job = tiny_job()
    assert isinstance(job.task, SegmentationTask)
    datasets = write_datasets(tmp_path / "data", NAMES, job)
    release = write_release(tmp_path / "releases" / "made_up-0.1.0", job.task)
    _AskingFederation.releases = release.parent
    told: list[str] = []
    with _AskingFederation(tmp_path / "fed", NAMES, datasets) as federation:
        waiting = threading.Event()

        def tell(text: str) -> None:
            told.append(text)
            if "waiting for approval" in text:
                waiting.set()

        def ask() -> None:
            with federation.console() as console:
                asked = question_job("validation", release, "all", min_sites=1)
                wanted = ("validation.json", ANSWERS, SITES)
                submit_once(asked, console, tmp_path / "run", wanted, tell, Orders(approval_timeout=300.0))

        asking = threading.Thread(target=ask)
        asking.start()
        assert waiting.wait(180), told
        federation.approve(tmp_path / "run" / "flare" / "validation_phantom_segmentation")
        asking.join(400)
        found = Told.model_validate_json((tmp_path / "run" / ANSWERS).read_bytes())
        assert sorted(found.answers) == ["north"]
        assert found.refused == {"valley": "release_missing"}
        statements, root = read_statements(tmp_path / "run" / SITES)
        assert checked_statement(statements["north"], "north", root).report == found.answers["north"]
        assert root == (federation.kit("north") / "startup/rootCA.pem").read_bytes()
        verdict = verify(federation.site_folder("north"))
        assert verdict.problems == ()
        [sent] = [line for line in verdict.lines if isinstance(line, Sent)]
        assert (sent.task, sent.tensors) == ("ask", 0)
        assert sent.metrics["cases"] == found.answers["north"]["cases"]
        assert sent.metrics["signed.site"] == "north"
