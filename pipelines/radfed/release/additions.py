"""The claims about what sites, auditors and reviewers say of a release; see ``radfed.release.claims``."""

import tempfile
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from cryptography import x509

from radfed.errors import GateError, InvalidInputError
from radfed.inference.checksums import file_digest
from radfed.inference.opened import MODEL
from radfed.ledger import read_ledger
from radfed.metrics.pooling import FederatedEvaluation
from radfed.metrics.signed import check_statements, checked_statement, read_statements
from radfed.metrics.signoff import check_review
from radfed.privacy.spent import PrivacyRecord
from radfed.release.contents import contract_of, job_of, privacy_of, read_json, read_signed
from radfed.release.layout import (
    FEDERATED,
    LEAKAGE,
    LEDGER,
    PRIVACY,
    REVIEW_CHAIN,
    ROOT_CERTIFICATE,
    SIGNOFF,
    SITES,
)
from radfed.release.reading import NotVerifiableError, Release
from radfed.release.signing import fingerprint


def check_leakage(release: Release) -> str:
    """The leakage audit is of this model and task, and its verdict follows from its numbers."""
    if not release.has(LEAKAGE):
        raise NotVerifiableError("nobody has measured what it gives away of its training cases")
    # Statistics take a second to import, and few releases have an audit.
    from radfed.privacy.leakage_file import read_leakage

    found = read_leakage(release.file(LEAKAGE), release.model.weights_digest)
    task = contract_of(release)
    if (found.task, found.task_digest) != (task.name, task.digest):
        raise GateError(f"it is of the task {found.task!r:.60} ({found.task_digest[:12]}), not of {task.name}")
    return f"{found.verdict}, over {len(found.sites)} sites"


def check_privacy(release: Release) -> str:
    """What is stated of differential privacy is what the job asked for and the ledger shows."""
    expected = privacy_of(job_of(release), read_ledger(release.file(LEDGER)))
    stated = PrivacyRecord.check(read_json(release, PRIVACY), PRIVACY) if release.has(PRIVACY) else None
    if stated != expected:
        raise GateError(f"{PRIVACY} is not what the job and the ledger give")
    if stated is None:
        return "no differential privacy, and none is claimed"
    return f"epsilon {stated.worst_epsilon} at delta {stated.delta:g} at the site that spent most, as the sites say"


def check_site_metrics(release: Release, root: bytes | None = None) -> str:
    """The pooled test scores follow from statements that the sites signed.

    Args:
        release: the release.
        root: PEM of the federation's root certificate; without it the one in the release is taken at its word.
    """
    names = release.names(SITES)
    if not names:
        why = "the sites had no keys, as in a simulation, or signed nothing" if release.has(FEDERATED) else "no scores"
        raise NotVerifiableError(f"there are no signed statements ({why})")
    if not release.has(FEDERATED):
        raise GateError(f"there are signed statements, but no {FEDERATED}")
    _check_only_statements(names)
    evaluation, task = FederatedEvaluation.check(read_json(release, FEDERATED), FEDERATED), contract_of(release)
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder)
        for name in names:
            (here / PurePosixPath(name).name).write_bytes(release.file(name).read_bytes())
        found = check_statements(here, evaluation, root)
        if found.problems:
            raise GateError("; ".join(found.problems[:5]))
        statements, own = read_statements(here)
    for site, signed in statements.items():
        statement = checked_statement(signed, site, own)
        if (statement.task, statement.task_digest) != (task.name, task.digest):
            raise GateError(f"{site}: the statement is of another task ({statement.task!r:.60})")
    whose = "the root certificate given"
    if root is None:
        whose = f"the root certificate in the release, whose PEM has the SHA-256 {fingerprint(own.decode())[:16]}"
    return f"{len(found.sites)} sites signed, under {whose}; pooled they give {FEDERATED}"


def _check_only_statements(names: Sequence[str]) -> None:
    """Refuse anything in ``sites/`` but statements and the root certificate."""
    statements = [name for name in names if PurePosixPath(name).suffix == ".json"]
    flat = all(PurePosixPath(name).parent == PurePosixPath(SITES) for name in names)
    if not flat or sorted(names) != sorted([ROOT_CERTIFICATE, *statements]):
        raise GateError(f"{SITES} must hold {PurePosixPath(ROOT_CERTIFICATE).name} and one file a site, nothing else")


def read_root(path: Path) -> bytes:
    """A root certificate in PEM.

    Raises:
        InvalidInputError: it is none.
    """
    try:
        content = path.read_bytes()
        x509.load_pem_x509_certificate(content)
    except (OSError, ValueError) as error:
        raise InvalidInputError(f"{path}: is no certificate in PEM; give the federation's rootCA.pem") from error
    return content


def check_signoff(release: Release) -> str:
    """The sign-off is of this model, its signature holds, and the review's chain leads to it, hash by hash."""
    if not release.has(SIGNOFF):
        if release.has(REVIEW_CHAIN):
            raise GateError(f"there is a {REVIEW_CHAIN}, but no sign-off")
        raise NotVerifiableError("nobody has signed it off")
    signed = read_signed(release, SIGNOFF)
    signoff, chain = check_review(signed, release.file(REVIEW_CHAIN).read_bytes())
    model, task = file_digest(release.file(MODEL)), contract_of(release)
    if (signoff.model_sha256, signoff.weights_digest) != (model, release.model.weights_digest):
        raise GateError(f"it is of another model ({signoff.model_sha256[:12]}), {MODEL} is {model[:12]}")
    if (signoff.task, signoff.task_digest) != (task.name, task.digest):
        raise GateError(f"it is of another task ({signoff.task!r:.60})")
    key = fingerprint(signed.public_key)
    return f"{signoff.cases} cases, a chain of {len(chain.lines)} lines, signed with the key {key[:16]}"
