"""Puts NiiVue, the viewer of the review workbench, beside its page while the package is built.

It is 3 MB of somebody else's code, so it is not in the repository: ``npm pack`` brings it from wherever the user's npm
is set to look, and its hash is checked. Where it is in place already nothing happens; without npm the build goes on,
and the workbench says what is missing. By hand: ``python hatch_build.py``.
"""

import base64
import hashlib
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any

try:
    from hatchling.builders.hooks.plugin.interface import BuildHookInterface
except ModuleNotFoundError:  # by hand, outside a build
    BuildHookInterface = object

PACKAGE = "@niivue/niivue@0.69.0"
INTEGRITY = "YMjQvJgD1W2b7DuoxkwlC4VxbrgIePRJ5qyQzXKxi2v2MBVg285P/CIQyg46oDDGDIcaNlbd+MhtO/edMbXJkA=="
"""SHA-512 of the package as npm publishes it."""
MEMBER = "package/dist/index.js"
MEMBER_SHA256 = "d6c2be4feb1ad53b2ac76b4196da8d8fd2263b662b511c55ca0fd127eb6a6532"
VENDOR = Path("pipelines/radfed/validation/workbench/static/vendor")
SECONDS = 180
LICENCE = f"""niivue.js is {MEMBER} of {PACKAGE}, unchanged.

BSD 2-Clause License

Copyright (c) 2021, Niivue
All rights reserved.

Redistribution and use in source and binary forms, with or without modification, are permitted provided that the
following conditions are met:

1. Redistributions of source code must retain the above copyright notice, this list of conditions and the following
   disclaimer.

2. Redistributions in binary form must reproduce the above copyright notice, this list of conditions and the following
   disclaimer in the documentation and/or other materials provided with the distribution.

THIS SOFTWARE IS PROVIDED BY THE COPYRIGHT HOLDERS AND CONTRIBUTORS "AS IS" AND ANY EXPRESS OR IMPLIED WARRANTIES,
INCLUDING, BUT NOT LIMITED TO, THE IMPLIED WARRANTIES OF MERCHANTABILITY AND FITNESS FOR A PARTICULAR PURPOSE ARE
DISCLAIMED. IN NO EVENT SHALL THE COPYRIGHT HOLDER OR CONTRIBUTORS BE LIABLE FOR ANY DIRECT, INDIRECT, INCIDENTAL,
SPECIAL, EXEMPLARY, OR CONSEQUENTIAL DAMAGES (INCLUDING, BUT NOT LIMITED TO, PROCUREMENT OF SUBSTITUTE GOODS OR
SERVICES; LOSS OF USE, DATA, OR PROFITS; OR BUSINESS INTERRUPTION) HOWEVER CAUSED AND ON ANY THEORY OF LIABILITY,
WHETHER IN CONTRACT, STRICT LIABILITY, OR TORT (INCLUDING NEGLIGENCE OR OTHERWISE) ARISING IN ANY WAY OUT OF THE USE OF
THIS SOFTWARE, EVEN IF ADVISED OF THE POSSIBILITY OF SUCH DAMAGE.
"""


class UnavailableError(Exception):
    """The viewer cannot be had here and now; the build goes on without it."""


def vendor(root: Path) -> Path:
    """Puts the viewer and its licence in place.

    Raises:
        UnavailableError: There is no npm, or it cannot reach the package.
        ValueError: What npm brought is not the package that this release was tested with.
    """
    viewer = root / VENDOR / "niivue.js"
    if viewer.is_file() and hashlib.sha256(viewer.read_bytes()).hexdigest() == MEMBER_SHA256:
        return viewer
    npm = shutil.which("npm")
    if npm is None:
        raise UnavailableError("npm is not on the PATH")
    with tempfile.TemporaryDirectory() as folder:
        code = _member(_pack(npm, Path(folder)))
    viewer.parent.mkdir(parents=True, exist_ok=True)
    for name, content in (("LICENCE.txt", LICENCE.encode()), ("niivue.js", code)):
        beside = viewer.with_name(f".{name}.part")
        beside.write_bytes(content)
        beside.replace(viewer.with_name(name))
    return viewer


def _pack(npm: str, folder: Path) -> Path:
    command = [npm, "pack", PACKAGE, "--pack-destination", str(folder), "--ignore-scripts", "--silent"]
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=SECONDS, check=False)
    except subprocess.TimeoutExpired as error:
        raise UnavailableError(f"npm brought no {PACKAGE} in {SECONDS} seconds") from error
    found = list(folder.glob("*.tgz"))
    if done.returncode or len(found) != 1:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise UnavailableError(
            f"npm could not bring {PACKAGE}: {said[-1] if said else f'exit status {done.returncode}'}"
        )
    return found[0]


def _member(package: Path) -> bytes:
    got = base64.b64encode(hashlib.sha512(package.read_bytes()).digest()).decode()
    if got != INTEGRITY:
        raise ValueError(f"{PACKAGE} has the wrong hash: sha512-{got} instead of sha512-{INTEGRITY}; it is not used")
    with tarfile.open(package) as archive:
        member = archive.extractfile(MEMBER)
        code = member.read() if member else b""
    if hashlib.sha256(code).hexdigest() != MEMBER_SHA256:
        raise ValueError(f"{MEMBER} of {PACKAGE} is not the file that is expected; it is not used")
    return code


class Viewer(BuildHookInterface):  # type: ignore[misc]  # object, where hatchling is missing
    """Runs before each build, of a wheel and of an editable installation alike."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Brings the viewer, or says loudly that the build is without it."""
        try:
            vendor(Path(self.root))
        except UnavailableError as why:
            self.app.display_warning(f"radfed is built without the viewer of 'radfed workbench': {why}")


if __name__ == "__main__":
    try:
        print(vendor(Path(__file__).resolve().parent))
    except (UnavailableError, ValueError) as why:
        sys.exit(f"No viewer: {why}")
