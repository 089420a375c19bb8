"""What was changed behind the workbench's back is found: chain, head, database, model, predictions, dataset."""

import json
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.unit.validation.workbench.workbench_world import World, list_model

from radfed.chain import Chain
from radfed.errors import GateError, InvalidInputError, RadfedError
from radfed.metrics.signoff import AuditHead, AuditLine
from radfed.signatures import Signed, new_key
from radfed.validation.workbench.journal import Deed


def _lines(world: World, change: Callable[[list[bytes]], list[bytes]]) -> None:
    log = world.state / "audit.jsonl"
    log.write_bytes(b"".join(change(log.read_bytes().splitlines(keepends=True))))


def _forged_head(world: World, review: str | None = None) -> None:
    last = json.loads((world.state / "audit.jsonl").read_bytes().splitlines()[-1])
    head = AuditHead(review=review or world.bench.journal.review, index=last["index"], hash=last["hash"])
    key = new_key() if review is None else world.bench.journal.key
    (world.state / "audit.head").write_text(Signed.make(head, key).model_dump_json() + "\n")


def _database(world: World, change: str) -> None:
    with sqlite3.connect(world.state / "review.sqlite") as db:
        assert db.execute(change).rowcount == 1
    db.close()


CHAIN: dict[str, tuple[Callable[[World], None], str]] = {
    "edited": (
        lambda w: _lines(w, lambda x: [*x[:5], x[5].replace(b'"action":"', b'"action":"un'), *x[6:]]),
        "was changed",
    ),
    "reordered": (lambda w: _lines(w, lambda x: [*x[:5], x[6], x[5], *x[7:]]), "does not follow"),
    "removed": (lambda w: _lines(w, lambda x: [*x[:5], *x[6:]]), "does not follow"),
    "truncated": (lambda w: _lines(w, lambda x: x[:-1]), "cut off"),
    "emptied": (lambda w: _lines(w, lambda x: []), "cut off"),
    "doubled": (lambda w: _lines(w, lambda x: [*x, x[-1]]), "does not follow"),
    "head lost": (lambda w: (w.state / "audit.head").unlink(), "missing"),
    "head of another key": (_forged_head, "not signed with this review's key"),
    "head of another review": (lambda w: _forged_head(w, "another"), "not signed with this review's key"),
    "verdict in the database": (
        lambda w: _database(
            w, "UPDATE events SET details = replace(details, 'accept', 'reject') WHERE id = "
            "(SELECT max(id) FROM events WHERE action = 'review')"
        ),
        "is not what line",
    ),
    "who in the database": (
        lambda w: _database(
            w, "UPDATE events SET user = 'mallory' WHERE id = (SELECT max(id) FROM events WHERE action = 'review')"
        ),
        "is not what line",
    ),
    "verdict removed": (
        lambda w: _database(
            w, "DELETE FROM events WHERE id = (SELECT max(id) FROM events WHERE action = 'review')"
        ),
        "the database of",
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def reviewed(begun: dict[bool, World], tmp_path_factory: pytest.TempPathFactory) -> World:
    world = begun[False].copy_to(tmp_path_factory.mktemp("reviewed") / "review")
    world.client("lea")
    world.client("aud")
    world.review_all()
    return world


@pytest.fixture
def complete(reviewed: World, tmp_path: Path) -> World:
    return reviewed.copy_to(tmp_path / "review")


@pytest.mark.parametrize("how", CHAIN)
def test_a_changed_chain_is_told_and_refuses_sign_off_and_start(complete: World, how: str) -> None:
    change, says = CHAIN[how]
    lea, _ = complete.client("lea"), complete.client("aud")
    change(complete)
    told = complete.client("aud").get("/api/audit").json()
    assert told["ok"] is False
    assert any(says in problem for problem in told["problems"]), told["problems"]
    assert complete.sign()[0] == 409
    assert lea.get("/api/progress").json()["signed"] is False
    with pytest.raises(GateError, match="chain"):
        complete.open()


def _byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def _list_another_model(world: World) -> None:
    _byte(world.root / "release/model.onnx")
    list_model(world.root / "release")


FILES: dict[str, tuple[Callable[[World], object], str]] = {
    "model": (lambda w: _byte(w.root / "release/model.onnx"), "model"),
    "model, listed again": (_list_another_model, "model"),
    "model removed": (lambda w: (w.root / "release/model.onnx").unlink(), "model"),
    "prediction": (lambda w: _byte(next(w.state.glob("predictions/*.prediction.nii.gz"))), "prediction"),
    "reference shown": (lambda w: _byte(next(w.state.glob("predictions/*.reference.nii.gz"))), "prediction"),
    "image": (lambda w: _byte(next(w.root.glob("dataset/images/case-0002????????.nii.gz"))), "image or label"),
    "label": (lambda w: _byte(next(w.root.glob("dataset/labels/case-0002????????.nii.gz"))), "image or label"),
    "list": (
        lambda w: (w.root / "dataset/cases.jsonl").write_text(
            (w.root / "dataset/cases.jsonl").read_text().replace('"split":"test"', '"split":"training"', 1)
        ),
        "dataset",
    ),
}


@pytest.mark.parametrize("how", FILES)
def test_a_changed_file_refuses_sign_off_and_start(complete: World, how: str) -> None:
    change, says = FILES[how]
    complete.client("lea")
    reviewed = {int(row["number"]) for row in complete.client("lea").get("/api/cases").json()}
    assert reviewed == {1, 2, 3, 4}
    for path in complete.root.glob("dataset/*/case-0002*"):
        if path.name.split(".")[0] not in _tested(complete):
            path.unlink()  # of another split: not under review
    change(complete)
    status, text = complete.sign()
    assert status == 409
    assert says in text
    with pytest.raises(RadfedError, match=r"model|dataset|file of case|review of something else|ONNX|SHA256SUMS"):
        complete.open()


def _tested(world: World) -> set[str]:
    rows = [json.loads(line) for line in (world.root / "dataset/cases.jsonl").read_text().splitlines()]
    return {row["id"] for row in rows if row["split"] == "test"}


@pytest.mark.parametrize("kind", ["image", "label"])
def test_a_file_that_the_dataset_does_not_list_is_refused_at_the_first_start(world: World, kind: str) -> None:
    shutil.rmtree(world.state)
    first, second = sorted(_tested(world))[:2]
    shutil.copy(world.root / f"dataset/{kind}s/{first}.nii.gz", world.root / f"dataset/{kind}s/{second}.nii.gz")
    with pytest.raises(GateError, match=f"{kind}s/{second}.nii.gz is not the file that cases.jsonl lists"):
        world.open()


def test_what_changes_after_the_sign_off_refuses_the_export(complete: World) -> None:
    assert complete.sign()[0] == 201
    kept = complete.state / "exports/signoff.json"
    text = kept.read_text()
    kept.write_text(text.replace("Reviewed.", "Accepted."))
    assert complete.client("lea").get("/api/export/signoff.json").status_code == 409
    kept.unlink()  # it is made again, from the event and its line
    signed = Signed.model_validate(complete.client("lea").get("/api/export/signoff.json").json())
    assert signed.statement == Signed.model_validate_json(text).statement
    assert complete.client("lea").get("/api/export/results.zip").status_code == 200
    (complete.state / "exports/results.zip").write_bytes(b"other")
    assert complete.client("lea").get("/api/export/results.zip").status_code == 409
    _byte(complete.root / "release/model.onnx")
    assert complete.client("lea").get("/api/export/review-chain.jsonl").status_code == 409


def test_a_changed_layer_is_not_shown(complete: World) -> None:
    client, case = complete.client("ben"), complete.cases()[0]
    for path in complete.state.glob("predictions/*.prediction.nii.gz"):
        _byte(path)
    assert client.get(f"/api/cases/{case}/layers/prediction.nii.gz").status_code == 409
    assert client.get(f"/api/cases/{case}/layers/image.nii.gz").status_code == 200


def test_nothing_is_recorded_once_the_chains_end_was_changed(complete: World) -> None:
    case = complete.cases()[0]
    _lines(complete, lambda found: found[:-1])
    assert complete.review("ben", case, "reject") == 409
    with sqlite3.connect(complete.state / "review.sqlite") as db:
        assert db.execute("SELECT count(*) FROM events WHERE details LIKE '%reject%'").fetchone() == (0,)
    db.close()


class _KilledError(Exception):
    pass


@pytest.mark.parametrize("after", ["commit", "line", "head"])
def test_a_kill_between_two_writes_loses_and_doubles_nothing(
    complete: World, after: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = complete.bench.journal

    def killed(*_: object, **__: object) -> None:
        raise _KilledError

    def last_words() -> Deed:
        return Deed("ben", "reader", "note", {"of": after})

    with monkeypatch.context() as patch:
        if after == "commit":
            patch.setattr(Chain, "append", killed)
        elif after == "line":
            patch.setattr(Chain, "_pin", killed)
        else:
            patch.setattr(type(journal), "_note_line", killed)
        with pytest.raises(_KilledError):
            journal.record(last_words())
    complete.restart()
    found, problems = complete.bench.journal.check()
    assert problems == ()
    notes = [line for line in found.lines if isinstance(line, AuditLine) and line.action == "note"]
    assert len(notes) == 1


def test_a_folder_without_its_key_cannot_go_on(complete: World) -> None:
    (complete.state / "key.pem").unlink()
    with pytest.raises(InvalidInputError, match="private key"):
        complete.open()
    shutil.rmtree(complete.state)
    complete.open()
    assert (complete.state / "key.pem").stat().st_mode & 0o777 == 0o600
