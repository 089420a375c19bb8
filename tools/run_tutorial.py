"""Type a tutorial: run the ``bash`` blocks of a Markdown page one after the other, in one shell, and show the output.

    python tools/run_tutorial.py docs/tutorials/real-federation.md --skip 'make setup'

The first command that fails ends it, with that command's exit code.
"""

import argparse
import re
import subprocess
import sys
from pathlib import Path

_BLOCK = re.compile(r"^```bash\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks_of(page: str) -> list[str]:
    """The page's ``bash`` blocks."""
    return [str(block) for block in _BLOCK.findall(page)]


def script_of(blocks: list[str], skip: tuple[str, ...]) -> str:
    """One script of all blocks; it shows each block before it runs it."""
    lines = ["set -euo pipefail"]
    for number, block in enumerate(blocks, start=1):
        kept = "\n".join(line for line in block.splitlines() if not line.startswith(skip))
        lines += [f"cat <<'SHOWN'\n\n--- {number} of {len(blocks)} ---\n{kept}\nSHOWN", kept]
    return "\n".join(lines) + "\n"


def main() -> int:
    """Run a page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("page", type=Path)
    parser.add_argument("--skip", action="append", default=[], help="leave out lines that begin so; may be repeated")
    parser.add_argument("--print", action="store_true", help="print the script instead of running it")
    options = parser.parse_args()
    script = script_of(blocks_of(options.page.read_text(encoding="utf-8")), tuple(options.skip))
    if options.print:
        print(script)
        return 0
    return subprocess.run(["bash", "-c", script], stdin=subprocess.DEVNULL, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
