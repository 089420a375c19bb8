"""What a forger does to a release, and which claims are then false."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
from tests.unit.release.evidence import Authority, reports_of, write_statements

from radfed.inference.model import OnnxModel
from radfed.metrics.signoff import SignOff
from radfed.metrics.travels import STAYS, TRAVELS
from radfed.release.derived import finish
from radfed.release.seal import seal
from radfed.signatures import Signed, new_key
from radfed.weights import load_weights, save_weights

# What is changed, byte by byte, with nothing sealed again.


def flip(name: str) -> Callable[[Path], None]:
    """One bit in the middle of a file."""

    def change(release: Path) -> None:
        content = bytearray((release / name).read_bytes())
        content[len(content) // 2] ^= 1
        (release / name).write_bytes(content)

    change.__name__ = f"flip {name}"
    return change


def _edit_json(path: Path, change: dict[str, object]) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | change))


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def add(release: Path) -> None:
    (release / "training" / "extra.py").write_text("import os")


def remove(release: Path) -> None:
    (release / "training" / "code.json").unlink()


def link(release: Path) -> None:
    path = release / "evaluation" / "metrics.json"
    path.rename(release.parent / "outside")
    path.symlink_to(release.parent / "outside")


def unsign(release: Path) -> None:
    (release / "model.sig").unlink()


def break_signature(release: Path) -> None:
    path = release / "model.sig"
    content = json.loads(path.read_text())
    signature = content["dsseEnvelope"]["signatures"][0]
    signature["sig"] = ("B" if signature["sig"][20] != "B" else "C").join(
        (signature["sig"][:20], signature["sig"][21:])
    )
    path.write_text(json.dumps(content))


def rubbish_signature(release: Path) -> None:
    (release / "model.sig").write_text("[]")


def card(release: Path) -> None:
    edit(release / "README.md", "DEGRADED", "COMPLETED")


def ledger(release: Path) -> None:
    edit(release / "training" / "ledger.jsonl", '"best_metric":0.6', '"best_metric":0.9')


def history(release: Path) -> None:
    edit(release / "training" / "history.json", '"metric_cases": 18', '"metric_cases": 180')


def weights(release: Path) -> None:
    weights = load_weights(release / "model.safetensors")
    name = sorted(weights)[0]
    save_weights(release / "model.safetensors", weights | {name: weights[name] + np.float32(0.01)})


def vectors(release: Path) -> None:
    path = release / "conformance" / "logits.safetensors"
    vectors = load_weights(path)
    save_weights(path, vectors | {"logits": vectors["logits"] + np.float32(0.1)})


def scores(release: Path) -> None:
    path = release / "evaluation" / "federated.json"
    content = json.loads(path.read_text())
    for scores in (content["pooled"], *content["sites"].values()):
        for score in scores.values():
            score["mean"] = 0.95
    path.write_text(json.dumps(content))


def metrics_of_another(release: Path) -> None:
    edit(release / "evaluation" / "metrics.json", "{", '{"model_digest": "' + "0" * 64 + '", ')


def bill(release: Path) -> None:
    edit(release / "sbom.cdx.json", "pkg:pypi/torch@", "pkg:pypi/t0rch@")


def bill_package(release: Path) -> None:
    path = release / "sbom.cdx.json"
    bill = json.loads(path.read_text())
    bill["components"] = [one for one in bill["components"] if one["name"] != "torch"]
    path.write_text(json.dumps(bill))


def crate(release: Path) -> None:
    edit(release / "ro-crate-metadata.json", "Not stated", "A famous hospital")


def environment(release: Path) -> None:
    path = release / "training" / "environment.txt"
    path.write_text("\n".join("torch==9.9.9" if x.startswith("torch==") else x for x in path.read_text().split("\n")))


def code(release: Path) -> None:
    edit(release / "training" / "code.json", '"radfed": "', '"radfed": "9')


def expression(release: Path) -> None:
    edit(release / "configs" / "inference.json", '"initialize": []', '"initialize": ["$__import__(\'os\').getpid()"]')


def privacy(release: Path) -> None:
    record = {"budget": 1.0, "sites": {}, "worst_site": None, "worst_epsilon": None, "delta": 1e-5}
    (release / "training" / "privacy.json").write_text(json.dumps(record))


def leakage(release: Path) -> None:
    edit(release / "evaluation" / "leakage.json", '"inconclusive"', '"pass"')


def leakage_of_another(release: Path) -> None:
    path = release / "evaluation" / "leakage.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"model": "0" * 64}))


def statement(release: Path) -> None:
    edit(release / "evaluation" / "sites" / "site-a.json", "4.0", "4.9")


def swapped_statements(release: Path) -> None:
    folder = release / "evaluation" / "sites"
    (folder / "site-a.json").rename(folder / "x")
    (folder / "site-b.json").rename(folder / "site-a.json")
    (folder / "x").rename(folder / "site-b.json")


def missing_statement(release: Path) -> None:
    (release / "evaluation" / "sites" / "site-b.json").unlink()


def own_federation(release: Path) -> None:
    """All statements anew, better, under a root of the forger's own."""
    model = OnnxModel.load(release / "model.onnx")
    shutil.rmtree(release / "evaluation" / "sites")
    write_statements(release / "evaluation", model, reports_of(model), Authority.new())


def chain_line(release: Path) -> None:
    edit(release / "evaluation" / "review-chain.jsonl", '"user":"ben"', '"user":"tim"')


def chain_cut(release: Path) -> None:
    path = release / "evaluation" / "review-chain.jsonl"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))


def signoff(release: Path) -> None:
    edit(release / "evaluation" / "signoff.json", "Good enough", "Very good")


def signoff_of_another(release: Path) -> None:
    path = release / "evaluation" / "signoff.json"
    stated = json.loads(json.loads(path.read_text())["statement"])
    forged = SignOff.check(stated | {"model_sha256": "0" * 64}, "forged")
    path.write_text(Signed.make(forged, new_key()).model_dump_json())


def other_code(release: Path) -> None:
    """The digest of some other code, which may word its files otherwise."""
    path = release / "training" / "code.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"code": "0" * 64}))


def expression_of_other_code(release: Path) -> None:
    other_code(release)
    expression(release)


def target_of_other_code(release: Path) -> None:
    other_code(release)
    _edit_json(release / "configs" / "inference.json", {"inferer": {"_target_": "os.system", "command": "true"}})


def macro_of_other_code(release: Path) -> None:
    other_code(release)
    _edit_json(release / "configs" / "inference.json", {"finalize": {"later": ["%configs/more.json::run"]}})


def expression_in_metadata(release: Path) -> None:
    for name in ("metadata.json", "configs/metadata.json"):
        _edit_json(release / name, {"references": ["$__import__('os').getpid()"]})


def more_configuration(release: Path) -> None:
    (release / "configs" / "logging.conf").write_text("[loggers]\nkeys=root\n")


def shadowed_module(release: Path) -> None:
    """What ``python -m monai.bundle`` in the release's folder would import in place of the real one."""
    (release / "torch").mkdir()
    (release / "torch" / "__init__.PY").write_text("print('hello')")


def note_among_statements(release: Path) -> None:
    (release / "evaluation" / "sites" / "notes.txt").write_text("case 17 is Mrs B.")


def metrics_with_cases(release: Path) -> None:
    _edit_json(release / "evaluation" / "metrics.json", {"cases": [{"case": "c1", "dice": 0.1}]})


def metrics_that_stay(release: Path) -> None:
    _edit_json(release / "evaluation" / "metrics.json", {"travels": False})


def metrics_of_no_use(release: Path) -> None:
    (release / "evaluation" / "metrics.json").write_text("[" * 9000)


def report_that_stays(release: Path) -> None:
    (release / "evaluation" / "report.html").write_text(f"<html>{TRAVELS}<p><strong>{STAYS}</strong></p></html>")


def report_that_says_nothing(release: Path) -> None:
    (release / "evaluation" / "report.html").write_text("<html><p>Good.</p></html>")


def report_with_a_scan(release: Path) -> None:
    (release / "evaluation" / "report.html").write_text(f"<html>{TRAVELS}<img src='data:image/png;base64,AA=='></html>")


def comparison_by_case(release: Path) -> None:
    (release / "evaluation" / "comparison.json").write_text('{"evaluations": {"pooled": {"cases": []}}, "rows": []}')


NONE, SEALED, FINISHED = None, seal, finish
"""What the forger does after the change: nothing, seals again, or also writes card, bill and crate anew."""
TAMPERED = [
    (add, NONE, {"bundle", "digests", "ro_crate"}),
    (remove, NONE, {"complete", "digests", "code", "sbom", "ro_crate", "card"}),
    (link, NONE, {"plain", "digests", "evaluation", "sbom", "ro_crate", "card"}),
    (unsign, NONE, set()),
    (break_signature, NONE, set()),
    (rubbish_signature, NONE, set()),
    (add, SEALED, {"bundle", "ro_crate"}),
    (add, FINISHED, {"bundle"}),
    (card, SEALED, {"card", "ro_crate"}),
    (bill, SEALED, {"sbom", "ro_crate"}),
    (bill_package, SEALED, {"sbom", "ro_crate"}),
    (crate, SEALED, {"ro_crate"}),
    (ledger, FINISHED, {"ledger", "history"}),
    (history, FINISHED, {"history"}),
    (weights, FINISHED, {"weights", "rebuild"}),
    (vectors, FINISHED, {"conformance_logits"}),
    (scores, FINISHED, {"site_metrics"}),
    (metrics_of_another, FINISHED, {"evaluation"}),
    (metrics_with_cases, FINISHED, {"evaluation"}),
    (metrics_that_stay, FINISHED, {"evaluation"}),
    (metrics_of_no_use, SEALED, {"evaluation", "sbom", "ro_crate", "card"}),
    (report_that_stays, FINISHED, {"evaluation"}),
    (report_that_says_nothing, FINISHED, {"evaluation"}),
    (report_with_a_scan, FINISHED, {"evaluation"}),
    (comparison_by_case, FINISHED, {"evaluation"}),
    (note_among_statements, FINISHED, {"site_metrics"}),
    (environment, FINISHED, {"code"}),
    (code, FINISHED, {"code"}),
    (other_code, FINISHED, set()),
    (expression, FINISHED, {"bundle"}),
    (expression_of_other_code, FINISHED, {"bundle"}),
    (target_of_other_code, FINISHED, {"bundle"}),
    (macro_of_other_code, FINISHED, {"bundle"}),
    (expression_in_metadata, FINISHED, {"bundle"}),
    (more_configuration, FINISHED, {"bundle"}),
    (shadowed_module, FINISHED, {"bundle"}),
    (privacy, FINISHED, {"privacy"}),
    (leakage, SEALED, {"leakage", "sbom", "ro_crate", "card"}),
    (leakage_of_another, FINISHED, {"leakage"}),
    (statement, FINISHED, {"site_metrics"}),
    (swapped_statements, FINISHED, {"site_metrics"}),
    (missing_statement, FINISHED, {"site_metrics"}),
    (own_federation, FINISHED, {"site_metrics"}),
    (chain_line, FINISHED, {"signoff"}),
    (chain_cut, FINISHED, {"signoff"}),
    (signoff, SEALED, {"signoff", "sbom", "ro_crate", "card"}),
    (signoff_of_another, FINISHED, {"signoff"}),
]
