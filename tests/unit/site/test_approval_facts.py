import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from approval_cases import a_job, facts_of, make_site, write_dataset  # type: ignore[import-not-found]

import radfed
from radfed.federation.app_files import leaving
from radfed.job import find_job
from radfed.site.approval_facts import code_digest, measure, site_filters
from radfed.site.approval_text import plain, sentences


def test_facts_name_the_data_without_a_path(tmp_path: Path) -> None:
    facts = facts_of(a_job(), write_dataset(tmp_path / "secret-folder", 12))
    assert facts.data is not None
    assert (facts.data.training, facts.data.validation, facts.data.test) == (6, 4, 2)
    text = facts.model_dump_json() + str(sentences(facts))
    assert "secret-folder" not in text
    assert str(tmp_path) not in text


def test_sentences_say_what_is_trained_how_often_and_what_leaves(tmp_path: Path) -> None:
    facts = facts_of(a_job(), write_dataset(tmp_path / "d", 12)).with_size(6260, 25_040)
    said = dict(sentences(facts))
    assert "6,260 numbers that finds liver, spleen" in said["What is trained"]
    assert "6 cases to train on, 4 to measure on" in said["On which data of ours"]
    assert "6 rounds, each of 40 training steps" in said["How often"]
    assert "(25.0 kB)" in said["What leaves in each round"]
    assert "mean loss" in said["What leaves in each round"]
    assert "150.2 kB in 6 rounds" in said["How much in all"]


@pytest.mark.parametrize(
    ("name", "in_each_round", "at_the_end"),
    [
        ("phantom_segmentation", "the mean Dice over", "for each label, sums of Dice"),
        ("heart_disease_tabular", "the 1 - mean Brier score over", "right answers and 1 - Brier score"),
    ],
)
def test_what_leaves_is_called_by_what_the_task_measures(name: str, in_each_round: str, at_the_end: str) -> None:
    job = find_job(name)
    facts = facts_of(job).model_copy(update={"metrics": leaving(job.task)})
    said = dict(sentences(facts))["What leaves in each round"]
    assert in_each_round in said
    assert at_the_end in said
    assert ("Dice" in said) == (job.task.kind == "segmentation")


def test_what_is_not_known_is_said_to_be_unknown() -> None:
    said = dict(sentences(facts_of(a_job())))
    assert "Unknown" in said["How much in all"]
    assert "cannot train here" in said["On which data of ours"]
    assert "None are known" in said["Through which filters of ours"]


def test_text_from_outside_cannot_steer_the_terminal() -> None:
    job = a_job()
    spec = job.job.model_copy(update={"description": "harmless\x1b[2J\x1b]0;x\x07\r\nApproved"})
    said = dict(sentences(facts_of(job.model_copy(update={"job": spec}))))
    assert all(character.isprintable() for character in said["For what"])
    assert plain("a\u202eb") == "a b"


def test_filters_are_those_of_the_kits_policy_in_order(tmp_path: Path) -> None:
    (tmp_path / "local").mkdir()
    scope = {"name": "radfed", "task_result_filters": [{"path": "a.B", "args": {"x": 1}}, {"name": "EgressFilter"}]}
    (tmp_path / "local/privacy.json").write_text(json.dumps({"scopes": [scope]}))
    assert site_filters(tmp_path) == ('radfed: B {"x": 1}', "radfed: EgressFilter")


@pytest.mark.parametrize("text", ["", "[]", '{"scopes": [1]}', '{"scopes": null}'])
def test_a_policy_that_cannot_be_read_is_unknown(tmp_path: Path, text: str) -> None:
    (tmp_path / "local").mkdir()
    (tmp_path / "local/privacy.json").write_text(text)
    assert site_filters(tmp_path) is None
    assert site_filters(tmp_path / "nowhere") is None


def test_the_code_digest_follows_every_source_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy = tmp_path / "radfed"
    shutil.copytree(Path(radfed.__file__).parent, copy, ignore=shutil.ignore_patterns("__pycache__"))
    before = code_digest()
    monkeypatch.setattr(radfed, "__file__", str(copy / "__init__.py"))
    assert code_digest() == before
    changed = copy / "federation" / "executor.py"
    changed.write_text(changed.read_text() + "# another version\n")
    assert code_digest() != before


def test_a_size_that_cannot_be_counted_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(command: list[str], **_: object) -> subprocess.CompletedProcess[bytes]:
        return subprocess.CompletedProcess(command, 0, stdout=b"no JSON")

    monkeypatch.setattr(subprocess, "run", run)
    assert measure(a_job(), 5.0) is None
    monkeypatch.undo()
    monkeypatch.setattr(sys, "executable", "/bin/false")
    assert measure(a_job(), 5.0) is None


def test_a_site_without_a_dataset_has_facts_all_the_same(tmp_path: Path) -> None:
    make_site(tmp_path / "s")
    assert facts_of(a_job()).data is None
