"""The state folder of a review, and what is reviewed in it."""

import secrets
from dataclasses import dataclass
from pathlib import Path

from radfed.settings import Settings
from radfed.signatures import PrivateKey, new_key, read_key, write_key
from radfed.validation.results import Split
from radfed.validation.workbench.store import Store, get_meta, set_meta
from radfed.validation.workbench.words import Subject


class Reviewed(Settings):
    """What a state folder holds the review of; nothing of it may change."""

    model_sha256: str
    weights_digest: str
    task: str
    task_digest: str
    dataset_digest: str
    split: Split
    blinded: bool
    readers: int
    seed: int

    @property
    def subjects(self) -> tuple[Subject, ...]:
        """What is judged of each case: the reference only where nobody knows which it is."""
        return ("prediction", "reference") if self.blinded else ("prediction",)


@dataclass(frozen=True)
class StateFolder:
    """Where a review keeps what it knows; for its owner alone."""

    root: Path

    @property
    def database(self) -> Path:
        """SQLite: users, sessions, cases, events."""
        return self.root / "review.sqlite"

    @property
    def audit(self) -> Path:
        """The audit chain."""
        return self.root / "audit.jsonl"

    @property
    def head(self) -> Path:
        """The chain's end, signed."""
        return self.root / "audit.head"

    @property
    def key(self) -> Path:
        """The key that signs."""
        return self.root / "key.pem"

    @property
    def lock(self) -> Path:
        """Held while something is written."""
        return self.root / ".lock"

    @property
    def predictions(self) -> Path:
        """Masks by case and model."""
        return self.root / "predictions"

    @property
    def exports(self) -> Path:
        """What was made after the sign-off."""
        return self.root / "exports"

    def open(self) -> tuple[Store, PrivateKey]:
        """Open the folder; an empty one gets a database and a key.

        Raises:
            InvalidInputError: the key cannot be read.
            sqlite3.Error: the database cannot be read.
        """
        self.root.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.predictions.mkdir(exist_ok=True, mode=0o700)
        store = Store(self.database)
        store.create()
        with store.write() as db:
            for name in ("review", "salt"):
                if get_meta(db, name) is None:
                    set_meta(db, name, secrets.token_hex(16))
        # Without a key only where nothing was signed yet: a new one could not vouch for an old chain.
        if not self.key.exists() and not self.audit.exists():
            write_key(self.key, new_key())
        return store, read_key(self.key)
