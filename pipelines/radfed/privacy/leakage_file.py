"""``leakage.json`` on disk, and the check with which a release takes it over."""

from pathlib import Path

from pydantic import ValidationError

from radfed.errors import GateError, InvalidInputError
from radfed.files import put_text
from radfed.privacy.leakage_report import Leakage
from radfed.settings import explain

LEAKAGE = "leakage.json"


def write_leakage(path: Path, found: Leakage) -> None:
    """Write an audit; it holds nothing of a single patient."""
    put_text(path, found.model_dump_json(indent=1) + "\n")


def read_leakage(path: Path, model_digest: str) -> Leakage:
    """Read the audit of a model.

    Args:
        path: what ``radfed audit leakage`` wrote.
        model_digest: SHA-256 of the weights that it must be of.

    Raises:
        InvalidInputError: it cannot be read, or its verdict does not follow from its numbers.
        GateError: it is of another model.
    """
    try:
        found = Leakage.model_validate_json(path.read_text(encoding="utf-8"))
    except ValidationError as error:
        raise InvalidInputError(explain(error, Leakage, path.name)) from error
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInputError(f"{path.name}: cannot be read as text ({type(error).__name__})") from error
    if found.model != model_digest:
        raise GateError(
            f"{path.name} is an audit of another model ({found.model[:12]}) than this one ({model_digest[:12]}); "
            "run 'radfed audit leakage' on this one"
        )
    return found
