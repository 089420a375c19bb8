"""One good release that everybody has signed, and what becomes of it in the hands of a forger."""

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import typer
from cryptography.hazmat.primitives.asymmetric import rsa
from tests.unit.release.evidence import Authority, reports_of, write_leakage_file, write_signoff, write_statements
from tests.unit.release.forgeries import TAMPERED, flip, history, own_federation
from typer.testing import CliRunner

from radfed.cli import release as release_command
from radfed.cli.console import GuardedGroup
from radfed.errors import GateError, InvalidInputError
from radfed.inference.model import OnnxModel
from radfed.job import Job
from radfed.ledger import PrivacySpent, SiteLine, read_ledger
from radfed.metrics.travels import STAYS, TRAVELS
from radfed.privacy.spent import PrivacyRecord
from radfed.release.additions import check_privacy
from radfed.release.attach import attach
from radfed.release.derived import finish
from radfed.release.reading import Extended
from radfed.release.seal import check_sums
from radfed.release.sign import sign_release
from radfed.release.signing import check_signature, fingerprint, make_key, public_path
from radfed.release.verify import VerifyReport, verify
from radfed.signatures import public_pem, write_key


@dataclass(frozen=True)
class Vouched:
    """A release with everything in it, and the keys of those who vouch for it."""

    release: Path
    key: Path
    public: Path
    root: Path


def failed(report: VerifyReport) -> set[str]:
    return {claim.name for claim in report.claims if claim.verdict == "FAIL"}


def verdicts(report: VerifyReport) -> dict[str, str]:
    return {claim.name: claim.verdict for claim in report.claims}


@pytest.fixture(scope="session")
def good(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Vouched:
    """Nobody may change it."""
    here = tmp_path_factory.mktemp("vouched")
    release = Path(shutil.copytree(built, here / built.name))
    model, authority = OnnxModel.load(release / "model.onnx"), Authority.new()
    make_key(here / "signer.pem")
    (here / "root.pem").write_bytes(authority.pem)
    (here / "metrics.json").write_text(
        json.dumps({"travels": True, "pooled": {"dice": {"mean": 0.8, "low": 0.7, "high": 0.9}}})
    )
    sites = write_statements(here, model, reports_of(model), authority)
    found = (write_leakage_file(here, model), *write_signoff(here, release, model), here / "metrics.json")
    attach(release, [sites, *found])
    sign_release(release, here / "signer.pem")
    return Vouched(release, here / "signer.pem", public_path(here / "signer.pem"), here / "root.pem")


@pytest.fixture
def release(good: Vouched, tmp_path: Path) -> Path:
    """A copy, to be changed."""
    return Path(shutil.copytree(good.release, tmp_path / good.release.name))


def test_everything_holds_before_anybody_touched_it(good: Vouched) -> None:
    report = verify(good.release, good.public, good.root)
    assert set(verdicts(report).values()) <= {"PASS"}, report
    assert len(report.not_provable) > 5
    card = (good.release / "README.md").read_text()
    assert "are signed by site-a, site-b with their own keys" in card
    assert "lea (lead) signed it off on 2026-01-02 after a blinded review of 11 cases by 2 readers each" in card


def test_without_a_key_the_signature_is_only_what_it_says(good: Vouched, built: Path) -> None:
    signed, unsigned = verify(good.release), verify(built)
    assert verdicts(signed)["signature"] == verdicts(unsigned)["signature"] == "NOT VERIFIABLE"
    assert "names the key" in signed.claims[0].reason
    assert unsigned.claims[0].reason == "it is not signed"
    assert signed.ok
    assert unsigned.ok


FILES = [
    "model.onnx", "model.safetensors", "task.yaml", "README.md", "metadata.json", "configs/inference.json",
    "training/ledger.jsonl", "training/code.json", "training/environment.txt", "evaluation/metrics.json",
    "evaluation/leakage.json", "evaluation/sites/site-a.json", "evaluation/signoff.json",
    "evaluation/review-chain.jsonl", "conformance/logits.safetensors", "sbom.cdx.json", "ro-crate-metadata.json",
]  # fmt: skip


@pytest.mark.parametrize("name", FILES)
def test_one_bit_in_any_file_is_seen_by_the_signature_and_the_digests(good: Vouched, release: Path, name: str) -> None:
    flip(name)(release)
    with pytest.raises(GateError, match=name.replace(".", r"\.")):
        check_sums(release)
    with pytest.raises(GateError, match=name.replace(".", r"\.")):
        check_signature(release, release / "model.sig", good.public)


@pytest.mark.parametrize(
    ("tamper", "after", "claims"),
    TAMPERED,
    ids=[f"{tamper.__name__}-{after.__name__ if after else 'left'}" for tamper, after, _ in TAMPERED],
)
def test_every_tampering_fails_its_claim_and_the_signature(
    good: Vouched,
    release: Path,
    tamper: Callable[[Path], None],
    after: Callable[[Path], None] | None,
    claims: set[str],
) -> None:
    """Who changes a release may seal it again, and put the old signature back; the deeper claim is still false."""
    tamper(release)
    if after is not None:
        after(release)
        assert not (release / "model.sig").exists(), "a signature that no longer fits is taken away"
        shutil.copyfile(good.release / "model.sig", release / "model.sig")
    report = verify(release, good.public, good.root)
    assert failed(report) == {"signature", *claims}


def test_another_key_fails_and_a_forger_who_signs_has_another_key(good: Vouched, release: Path, tmp_path: Path) -> None:
    make_key(tmp_path / "other.pem")
    other = public_path(tmp_path / "other.pem")
    assert failed(verify(good.release, other)) == {"signature"}
    (release / "evaluation" / "note.txt").write_text("added\n")
    finish(release)
    sign_release(release, tmp_path / "other.pem")
    assert failed(verify(release, good.public)) == {"signature"}
    assert verify(release, other).ok, "who trusts the forger's key is told nothing else"


def test_a_federation_of_the_forgers_own_needs_the_root_to_be_known(good: Vouched, release: Path) -> None:
    own_federation(release)
    finish(release)
    assert verdicts(verify(release))["site_metrics"] == "PASS"
    assert failed(verify(release, root=good.root)) == {"site_metrics"}


def test_a_release_that_does_not_hold_is_not_signed(good: Vouched, release: Path) -> None:
    history(release)
    finish(release)
    with pytest.raises(GateError, match=r"does not hold: history: "):
        sign_release(release, good.key)
    assert not (release / "model.sig").exists()


def test_what_does_not_hold_is_not_attached_and_leaves_the_release_as_it_was(
    good: Vouched, built: Path, tmp_path: Path
) -> None:
    release = Path(shutil.copytree(built, tmp_path / built.name))
    sums = (release / "SHA256SUMS").read_text()
    evidence = good.release / "evaluation"
    leakage = json.loads((evidence / "leakage.json").read_text()) | {"model": "0" * 64}
    (tmp_path / "leakage.json").write_text(json.dumps(leakage))
    for given, words in (
        ([tmp_path / "leakage.json"], "audit of another model"),
        ([evidence / "signoff.json"], "review-chain.jsonl is missing"),
        ([evidence / "review-chain.jsonl"], "but no sign-off"),
    ):
        with pytest.raises(GateError, match=words):
            attach(release, given)
    for place in (release / "model.onnx", tmp_path / "report.pdf"):
        with pytest.raises(InvalidInputError, match="has no place for it"):
            attach(release, [place])
    assert (release / "SHA256SUMS").read_text() == sums
    attach(release, [evidence / "signoff.json", evidence / "review-chain.jsonl"])
    assert verdicts(verify(release))["signoff"] == "PASS"


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("metrics.json", '{"travels": true, "cases": []}', "rows of single cases"),
        ("metrics.json", '{"travels": "yes"}', "does not say that it may travel"),
        ("metrics.json", "{}", "does not say that it may travel"),
        ("metrics.json", "[1]", "one JSON object"),
        ("metrics.json", "[" * 9000, "cannot be read as JSON"),
        ("report.html", f"{TRAVELS}<p>{STAYS}</p>", "stays at the site"),
        ("report.html", "<p>Good.</p>", "does not say that it may travel"),
        ("report.html", f"{TRAVELS}<img src='DATA:image/jpeg;base64,AA'>", "pictures of scans"),
        ("comparison.json", '{"evaluations": {}}', "single cases"),
        ("comparison.json", '{"rows": [], "evaluations": {}}', "single cases"),
        ("comparison.json", "[]", "one JSON object"),
    ],
)
def test_what_must_not_travel_is_not_attached(built: Path, tmp_path: Path, name: str, text: str, words: str) -> None:
    release = Path(shutil.copytree(built, tmp_path / built.name))
    (tmp_path / name).write_text(text)
    with pytest.raises(GateError, match=words):
        attach(release, [tmp_path / name])
    check_sums(release)
    assert not (release / "evaluation" / name).exists()


def test_what_may_travel_is_attached(built: Path, tmp_path: Path) -> None:
    release = Path(shutil.copytree(built, tmp_path / built.name))
    contents = {"metrics.json": '{"travels": true}', "comparison.json": '{"rows": []}', "report.html": TRAVELS}
    for name, text in contents.items():
        (tmp_path / name).write_text(text)
    attach(release, [tmp_path / name for name in contents])
    assert verify(release).ok


def test_only_statements_are_attached_with_sites(good: Vouched, built: Path, tmp_path: Path) -> None:
    release = Path(shutil.copytree(built, tmp_path / built.name))
    sites = Path(shutil.copytree(good.release / "evaluation" / "sites", tmp_path / "sites"))
    (sites / "notes.txt").write_text("case 17 is Mrs B.")
    with pytest.raises(GateError, match=r"must hold root\.pem and one file a site"):
        attach(release, [sites])
    (sites / "notes.txt").unlink()
    attach(release, [sites])
    assert verdicts(verify(release, root=good.root))["site_metrics"] == "PASS"


def test_special_files_and_a_missing_list_are_seen_and_never_read(good: Vouched, release: Path) -> None:
    """A pipe that nobody writes into would be waited for without end."""
    (release / "task.yaml").unlink()
    os.mkfifo(release / "task.yaml")
    (release / "SHA256SUMS").unlink()
    for key in (None, good.public):
        report = verify(release, key)
        assert {"signature", "plain", "complete"} <= failed(report)
        assert str(release.parent) not in report.model_dump_json()


def test_a_pipe_listed_among_the_sums_is_not_read(release: Path) -> None:
    (release / "task.yaml").unlink()
    os.mkfifo(release / "task.yaml")
    with pytest.raises(GateError, match=r"task\.yaml"):
        check_sums(release)


def test_an_empty_ledger_fails_the_history(release: Path) -> None:
    (release / "training" / "ledger.jsonl").write_text("")
    reason = next(claim.reason for claim in verify(release).claims if claim.name == "history")
    assert "no final line" in reason


def test_privacy_spent_is_what_the_ledger_shows(built: Path, tmp_path: Path) -> None:
    """A site that spent more in a later round, and a release that tells of the earlier one, or of none."""
    job = json.loads((built / "training" / "job.json").read_text())
    job["job"]["training"]["privacy"] = {"epsilon": 8.0}
    (tmp_path / "job.json").write_text(json.dumps(job))
    spent = PrivacySpent(epsilon=1.0, delta=1e-5, noise_multiplier=1.1, max_grad_norm=1.0, sampling_rate=0.1, steps=60)
    lines = [
        line.model_copy(update={"privacy": spent.model_copy(update={"epsilon": float(line.round)})})
        if isinstance(line, SiteLine)
        else line
        for line in read_ledger(built / "training" / "ledger.jsonl")
    ]
    (tmp_path / "ledger.jsonl").write_text("".join(line.model_dump_json() + "\n" for line in lines))
    asked = {"training/job.json": tmp_path / "job.json", "training/ledger.jsonl": tmp_path / "ledger.jsonl"}
    with pytest.raises(GateError, match="not what the job and the ledger give"):
        check_privacy(Extended(built, asked))
    told = {"training/privacy.json": tmp_path / "privacy.json"}
    record = PrivacyRecord.of(Job.check(job, "test"), [line for line in lines if isinstance(line, SiteLine)])
    assert record is not None
    (tmp_path / "privacy.json").write_text(record.model_dump_json())
    assert "epsilon 2.0 at delta 1e-05" in check_privacy(Extended(built, asked | told))
    less = record.model_copy(update={"worst_epsilon": 1.0})
    (tmp_path / "privacy.json").write_text(less.model_dump_json())
    with pytest.raises(GateError, match="not what the job and the ledger give"):
        check_privacy(Extended(built, asked | told))


def test_keys_are_made_once_and_others_are_refused(tmp_path: Path, built: Path) -> None:
    key = tmp_path / "signer.pem"
    name = make_key(key)
    assert key.stat().st_mode & 0o777 == 0o600
    public = public_path(key).read_bytes()
    assert name == fingerprint(public.decode()) == hashlib.sha256(public).hexdigest()
    with pytest.raises(InvalidInputError, match="never written over"):
        make_key(key)
    rsa_key = rsa.generate_private_key(65537, 2048)
    write_key(tmp_path / "rsa.pem", rsa_key)
    (tmp_path / "rsa.pub").write_text(public_pem(rsa_key))
    with pytest.raises(InvalidInputError, match="P-256, P-384 or P-521"):
        sign_release(built, tmp_path / "rsa.pem")
    for bad in (tmp_path / "rsa.pub", key, tmp_path / "none"):
        with pytest.raises(InvalidInputError, match=r"public key"):
            verify(built, bad)
    with pytest.raises(InvalidInputError, match="no certificate in PEM"):
        verify(built, root=key)


def test_commands_make_a_key_sign_attach_and_verify(good: Vouched, built: Path, tmp_path: Path) -> None:
    app = typer.Typer(cls=GuardedGroup)
    app.add_typer(release_command.app, name="release")
    app.command("other")(lambda: None)
    release, key = Path(shutil.copytree(built, tmp_path / built.name)), tmp_path / "signer.pem"
    evidence = good.release / "evaluation"

    def ask(*words: object) -> tuple[int, dict[str, object]]:
        done = CliRunner().invoke(app, ["release", *map(str, words), "--json"])
        return done.exit_code, json.loads(done.stdout)

    assert ask("keygen", key)[0] == 0
    code, signed = ask("sign", release, "--key", key)
    assert (code, signed["fingerprint"]) == (0, hashlib.sha256(public_path(key).read_bytes()).hexdigest())
    assert ask("verify", release, "--public-key", f"{key}.pub")[0] == 0
    assert ask("attach", release, evidence / "signoff.json", evidence / "review-chain.jsonl")[0] == 0
    assert ask("verify", release, "--public-key", f"{key}.pub")[0] == 3
    assert ask("attach", release, evidence / "leakage.json", "--key", key)[0] == 0
    code, report = ask("verify", release, "--public-key", f"{key}.pub")
    assert (code, report["ok"]) == (0, True)
    assert report["not_provable"]
