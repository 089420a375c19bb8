"""What joins a release of the tests: statements of sites with certificates, an audit, a sign-off with its chain."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from tests.unit.test_signatures import certificate

from radfed.chain import START, sealed
from radfed.inference.checksums import file_digest
from radfed.inference.model import OnnxModel
from radfed.metrics.pooling import LabelScores, TestReport
from radfed.metrics.signed import SiteStatement, keep_statements
from radfed.metrics.signoff import AuditLine, SignOff
from radfed.privacy.leakage_policy import LeakagePolicy
from radfed.privacy.leakage_report import Leakage, judge
from radfed.signatures import PrivateKey, Signed, new_key


@dataclass(frozen=True)
class Authority:
    """A federation's root."""

    key: PrivateKey
    pem: bytes

    @classmethod
    def new(cls) -> "Authority":
        key = new_key()
        return cls(key, certificate("root", key, "root", key))

    def sign(self, statement: SiteStatement, name: str) -> Signed:
        """A statement with a new key, certified under a name."""
        key = new_key()
        return Signed.make(statement, key, certificate(name, key, "root", self.key))


def write_statements(folder: Path, model: OnnxModel, reports: dict[str, TestReport], authority: Authority) -> Path:
    """``sites/`` in a folder, with a statement of each site."""
    task = model.task
    signed = {}
    for site, report in reports.items():
        statement = SiteStatement(
            purpose="test", site=site, task=task.name, task_digest=task.digest, model=model.weights_digest,
            split="test", made=date(2026, 1, 1), report=report.model_dump(),
        )  # fmt: skip
        signed[site] = authority.sign(statement, site)
    keep_statements(folder, signed, authority.pem)
    return folder / "sites"


def reports_of(model: OnnxModel) -> dict[str, TestReport]:
    """Those behind the ``evaluation.json`` of the tests' runs."""
    sums = {name: LabelScores(total=4.0, squares=3.3) for name in model.task.measured}
    return {"site-a": TestReport(cases=5, labels=sums), "site-b": TestReport(cases=6, labels=sums)}


def write_leakage_file(folder: Path, model: OnnxModel) -> Path:
    """An audit that had too few patients to say anything."""
    policy = LeakagePolicy()
    verdict, reasons = judge(policy, None, {}, ("site-a",))
    found = Leakage(
        model=model.weights_digest, task=model.task.name, task_digest=model.task.digest, policy=policy,
        verdict=verdict, reasons=reasons, pooled=None, sites={}, silent=("site-a",),
    )  # fmt: skip
    path = folder / "leakage.json"
    path.write_text(found.model_dump_json())
    return path


def write_signoff(folder: Path, release: Path, model: OnnxModel) -> tuple[Path, Path]:
    """A sign-off and the chain that leads to it."""
    lines = _chain([("anna", "reader", "review"), ("ben", "reader", "review"), ("lea", "lead", "signoff")])
    signoff = SignOff(
        review="r1", task=model.task.name, task_digest=model.task.digest,
        model_sha256=file_digest(release / "model.onnx"),
        weights_digest=model.weights_digest, dataset_digest="d" * 64, split="test", blinded=True, readers=2,
        statement="Good enough to go on trying it.", signed_by="lea", time="2026-01-02T09:00:00+00:00", cases=11,
        verdicts=None, chain_lines=len(lines), chain_head=lines[-1].hash,
    )  # fmt: skip
    signed, chain = folder / "signoff.json", folder / "review-chain.jsonl"
    signed.write_text(Signed.make(signoff, new_key()).model_dump_json())
    chain.write_text("".join(line.model_dump_json() + "\n" for line in lines))
    return signed, chain


def _chain(deeds: Sequence[tuple[str, str, str]]) -> list[AuditLine]:
    lines: list[AuditLine] = []
    for index, (user, role, action) in enumerate(deeds):
        line = AuditLine(
            index=index, time=f"2026-01-02T08:00:0{index}+00:00", previous=lines[-1].hash if lines else START,
            user=user, role=role, action=action, digest=f"{index}" * 64,
        )  # fmt: skip
        lines.append(sealed(line))
    return lines
