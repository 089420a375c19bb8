"""A review from the first verdict to the exports."""

import io
import json
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score
from tests.unit.validation.workbench.workbench_world import PASSWORD, World

from radfed.errors import GateError, InvalidInputError
from radfed.imaging.nifti import read_label
from radfed.metrics.kappa import cohen_kappa
from radfed.metrics.signoff import check_review
from radfed.signatures import Signed
from radfed.validation.workbench.dicom_results import NO_DICOM
from radfed.validation.workbench.protocol import protocol_html


def layers(world: World, user: str, case: str, tmp_path: Path) -> dict[str, np.ndarray]:
    found = {}
    for layer in world.client(user).get(f"/api/cases/{case}").json()["layers"]:
        answer = world.client(user).get(f"/api/cases/{case}/layers/{layer}.nii.gz")
        assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store")
        path = tmp_path / f"{user}-{layer}.nii.gz"
        path.write_bytes(answer.content)
        found[layer] = read_label(path).array[0] if layer != "image" else np.zeros(0)
    return found


def test_the_worst_case_comes_first_and_its_layers_agree(world: World, tmp_path: Path) -> None:
    cases = world.client("ben").get("/api/cases").json()
    assert [case["number"] for case in cases] == [1, 2, 3, 4]
    assert [case["dice"] for case in cases] == sorted(case["dice"] for case in cases)
    one = world.client("ben").get(f"/api/cases/{cases[0]['id']}").json()
    assert (one["subjects"], one["layers"]) == (["prediction"], ["image", "prediction", "reference", "disagreement"])
    shown = layers(world, "ben", cases[0]["id"], tmp_path)
    assert np.array_equal(shown["disagreement"] > 0, shown["prediction"] != shown["reference"])
    dice = []
    for label, value in (("left_ball", 1), ("right_ball", 4)):
        marked, wanted = shown["prediction"] == value, shown["reference"] == value
        dice.append(2 * (marked & wanted).sum() / (marked.sum() + wanted.sum()))
        assert one["metrics"][label]["dice"] == pytest.approx(dice[-1])
        assert one["volumes_ml"][label]["prediction"] == pytest.approx(marked.sum() * 0.0015)
    assert cases[0]["dice"] == pytest.approx(np.mean(dice))


def test_two_readers_a_disagreement_and_the_leads_word(world: World) -> None:
    first, second = world.cases()[:2]

    def states() -> dict[str, tuple[str, str | None]]:
        return {c["id"]: (c["state"], c["todo"]) for c in world.client("lea").get("/api/cases").json()}

    assert world.review("ben", first) == 201
    assert states()[first] == ("one", None)
    assert world.client("cleo").get(f"/api/cases/{first}").json()["reviews"] == []
    assert world.review("cleo", first, "major") == 201
    assert len(world.client("cleo").get(f"/api/cases/{first}").json()["reviews"]) == 2
    assert states()[first] == ("disagreed", "adjudicate")
    word = {"verdicts": {"prediction": "minor"}, "comment": "edge"}
    assert world.client("lea").post(f"/api/cases/{second}/adjudicate", json=word).status_code == 409
    assert world.client("lea").post(f"/api/cases/{first}/adjudicate", json=word).status_code == 201
    assert states()[first] == ("adjudicated", None)
    assert world.review("cleo", first, "reject") == 201
    assert states()[first] == ("disagreed", "adjudicate")  # the lead has not seen that verdict
    assert world.review("cleo", first, "accept") == 201
    assert states()[first] == ("agreed", None)


def test_the_same_review_sent_twice_is_one(world: World) -> None:
    case = world.cases()[0]
    lines = len((world.state / "audit.jsonl").read_bytes().splitlines())
    assert [world.review("ben", case) for _ in range(3)] == [201, 201, 201]
    assert len((world.state / "audit.jsonl").read_bytes().splitlines()) == lines + 1
    assert world.client("lea").get("/api/progress").json()["one"] == 1


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"verdicts": {"prediction": "splendid"}, "seconds": 1}, "verdicts.prediction"),
        ({"verdicts": {"A": "accept"}, "seconds": 1}, "exactly: prediction"),
        ({"verdicts": {"prediction": "accept"}, "seconds": -1}, "seconds"),
        ({"verdicts": {"prediction": "accept"}, "seconds": 1, "more": 1}, "more"),
        ({"verdicts": {"prediction": "accept"}, "seconds": 1, "comment": "x" * 5000}, "comment"),
    ],
)
def test_a_review_that_makes_no_sense_is_refused(world: World, body: dict[str, object], says: str) -> None:
    answer = world.client("ben").post(f"/api/cases/{world.cases()[0]}/review", json=body)
    assert answer.status_code == 400
    assert says in answer.json()["error"]


def test_a_review_is_signed_off_exported_and_closed(world: World) -> None:
    status, text = world.sign()
    assert status == 409
    assert "4 of 4 case(s) wait" in text
    world.review_all()
    assert world.client("lea").get("/api/export/signoff.json").status_code == 409
    assert world.sign("a wrong password")[0] == 401
    assert world.client("aud").get("/api/audit").json()["lines"][-2]["action"] == "login refused"
    blank = {"statement": " \n\t ", "password": PASSWORD}
    assert world.client("lea").post("/api/signoff", json=blank).status_code == 400
    assert world.sign() == (201, '{"signed":true}')
    assert world.sign()[0] == 409
    assert world.review("ben", world.cases()[0], "reject") == 409
    lea = world.client("lea")
    signed = Signed.model_validate(lea.get("/api/export/signoff.json").json())
    chain = lea.get("/api/export/review-chain.jsonl").content
    signoff, found = check_review(signed, chain)
    assert (signoff.signed_by, signoff.cases, len(found.lines)) == ("lea", 4, signoff.chain_lines)
    assert signoff.verdicts == {"prediction": {"accept": 4, "minor": 0, "major": 0, "reject": 0}}
    assert b"case-" not in chain
    archive = zipfile.ZipFile(io.BytesIO(lea.get("/api/export/results.zip").content))
    assert {case["why_not"] for case in json.loads(archive.read("cases.json"))} == {NO_DICOM}
    for tampered in (
        chain.replace(b'"role":"reader"', b'"role":"lead"', 1),
        b"".join(chain.splitlines(keepends=True)[:-1]),
        chain.replace(b"ben", b"bob"),
        chain + b'{"index":',
        chain + b"and more",
        chain + b"\n",
    ):
        with pytest.raises(GateError, match=r"chain|text follows"):
            check_review(signed, tampered)


def test_few_patients_are_not_counted_in_what_leaves(world: World) -> None:
    world.review_all()
    case = world.cases()[0]
    for user in ("ben", "cleo"):
        world.review(user, case, "reject")
    assert world.sign()[0] == 201
    signed = Signed.model_validate(world.client("lea").get("/api/export/signoff.json").json())
    assert check_review(signed, world.client("lea").get("/api/export/review-chain.jsonl").content)[0].verdicts is None


def test_blinded_readers_learn_nothing_until_the_sign_off(blinded_world: World, tmp_path: Path) -> None:
    world = blinded_world
    before = world.client("ben").get("/api/cases").json()
    assert {case["dice"] for case in before} == {None}
    orders = {}
    for user in ("ben", "cleo", "lea"):
        for case in world.cases():
            one = world.client(user).get(f"/api/cases/{case}").json()
            assert (one["subjects"], one["layers"]) == (["A", "B"], ["image", "A", "B"])
            assert (one["volumes_ml"], one["metrics"], one["reviews"]) == (None, None, [])
            for layer in ("prediction", "reference", "disagreement"):
                assert world.client(user).get(f"/api/cases/{case}/layers/{layer}.nii.gz").status_code == 404
            orders[user, case] = world.client(user).get(f"/api/cases/{case}/layers/A.nii.gz").headers["etag"]
    assert len({tuple(orders[user, case] for case in world.cases()) for user in ("ben", "cleo", "lea")}) > 1
    truth = {}
    for case in world.cases():
        for user in ("ben", "cleo"):
            names = {orders[user, case]: "A"}
            other = world.client("lea").get(f"/api/cases/{case}/layers/A.nii.gz").headers["etag"]
            mark = "A" if other in names else "B"  # both mean the mask that lea sees as A
            verdicts = {name: "accept" if name == mark else "major" for name in ("A", "B")}
            assert world.review(user, case, verdicts=verdicts) == 201
        one = world.client("lea").get(f"/api/cases/{case}").json()
        assert [review["verdicts"] for review in one["reviews"]] == [{"A": "accept", "B": "major"}] * 2
        own = world.client("ben").get(f"/api/cases/{case}").json()["reviews"]
        assert [review["reader"] for review in own] == ["ben"]
        # "agreed", after one's own verdict, would be the other's.
        listed = {one["id"]: one["state"] for one in world.client("ben").get("/api/cases").json()}
        assert listed[case] == "read"
        assert not {"agreed", "disagreed", "adjudicated"} & set(world.client("ben").get("/api/progress").json())
        truth[case] = orders["lea", case]
    assert {case["state"] for case in world.client("lea").get("/api/cases").json()} == {"agreed"}
    assert world.sign()[0] == 201
    assert world.client("ben").get("/api/me").json()["blinded"] is False
    for case in world.cases():
        one = world.client("lea").get(f"/api/cases/{case}").json()
        etag = world.client("lea").get(f"/api/cases/{case}/layers/prediction.nii.gz").headers["etag"]
        wanted = {
            True: {"prediction": "accept", "reference": "major"},
            False: {"prediction": "major", "reference": "accept"},
        }
        assert one["reviews"][0]["verdicts"] == wanted[etag == truth[case]]


def test_prediction_and_reference_look_alike_to_a_blinded_reader(blinded_world: World, tmp_path: Path) -> None:
    from nibabel import load

    for made, subject in ((1_700_000_000, "prediction"), (1_700_000_300, "reference")):
        for path in blinded_world.state.glob(f"predictions/*.{subject}.nii.gz"):
            os.utime(path, (made, made))
    files, answers = [], []
    for layer in ("A", "B"):
        answer = blinded_world.client("ben").get(f"/api/cases/{blinded_world.cases()[0]}/layers/{layer}.nii.gz")
        (tmp_path / f"{layer}.nii.gz").write_bytes(answer.content)
        files.append(load(tmp_path / f"{layer}.nii.gz").header.binaryblock)
        # The two that are of the content, which the reader has anyway.
        answers.append({k: v for k, v in answer.headers.items() if k not in ("etag", "content-length")})
    assert files[0] == files[1]
    assert answers[0] == answers[1]


def test_the_protocol_tells_rates_agreement_and_hashes(blinded_world: World) -> None:
    world = blinded_world
    world.review_all()
    assert world.sign()[0] == 201
    signed = Signed.model_validate(world.client("lea").get("/api/export/signoff.json").json())
    page = protocol_html(world.bench, signed)
    assert "4/4 = 100%" in page
    assert "ben and cleo" in page
    assert "undefined" in page
    assert world.bench.bundle.reviewed.model_sha256 in page
    assert page.count("case-000") == 4


def test_kappa_is_that_of_scikit_learn() -> None:
    random = np.random.default_rng(0)
    one = random.integers(0, 4, 60).tolist()
    other = [verdict if random.random() < 0.6 else int(random.integers(0, 4)) for verdict in one]
    assert cohen_kappa(one, other) == pytest.approx(cohen_kappa_score(one, other), abs=1e-12)
    assert cohen_kappa(one, one) == 1.0
    assert cohen_kappa([], []) is None
    assert cohen_kappa([1, 1], [1, 1]) is None
    with pytest.raises(ValueError, match="each case"):
        cohen_kappa([1], [])


def test_a_folder_is_of_one_review(world: World) -> None:
    for changes, says in (({"blinded": True}, "blinded"), ({"readers": 1}, "readers"), ({"split": "all"}, "split")):
        with pytest.raises(GateError, match=says):
            world.open(**changes)
    assert world.open(seed=None).bundle.reviewed.seed == 5
    with pytest.raises(InvalidInputError, match="from 1 to 20"):
        world.open(readers=0)
