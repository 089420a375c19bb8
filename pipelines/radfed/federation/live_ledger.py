"""The server's ledger as it is seen from afar: a copy that grows, and that gives way to the server's own."""

from collections.abc import Callable, Sequence
from pathlib import Path

from radfed.federation.sightings import LedgerPage
from radfed.ledger import Ledger, Line


class LiveLedger:
    """A copy of a campaign's ledger in the run folder, line by line.

    Args:
        path: the copy; one that is there is gone on with.
        on_line: told every line that is new here, once.
    """

    def __init__(self, path: Path, on_line: Callable[[Line], None]) -> None:
        self._path, self._on_line = path, on_line
        self._copy = Ledger(path)

    @property
    def lines(self) -> Sequence[Line]:
        """The lines seen so far."""
        return self._copy.lines

    def add(self, page: LedgerPage) -> bool:
        """Take the lines that follow the ones known.

        Returns:
            Whether they do follow. If not, nothing is taken: the server holds fewer lines than are known here.
        """
        if page.total < len(self.lines):
            return False
        for line in page.lines:
            self._copy.append(line)
            self._on_line(line)
        return True

    def restart(self, page: LedgerPage) -> None:
        """Forget what was seen, and take the server's lines from the first on; only later ones are told."""
        known = len(self.lines)
        self._path.unlink(missing_ok=True)
        self._copy = Ledger(self._path)
        for index, line in enumerate(page.lines):
            self._copy.append(line)
            if index >= known:
                self._on_line(line)
