"""Releases in a real OCI registry, and in one that lies."""

import hashlib
import json
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import requests
from tests.unit.release.conftest import built, make_run, make_task, release  # noqa: F401 - fixtures

from radfed.errors import FederationError, GateError, InvalidInputError
from radfed.inference.checksums import SUMS, file_digest
from radfed.release.attach import add_evaluation
from radfed.release.registry import open_registry, pull, push
from radfed.release.registry_oci import ARTIFACT
from radfed.release.seal import release_files

_CONFIG = """version: 0.1
storage: {{filesystem: {{rootdirectory: {folder}/storage}}, delete: {{enabled: true}}}}
http: {{addr: 127.0.0.1:{port}}}
"""


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Debian's docker-registry, empty at first."""
    program = shutil.which("docker-registry")
    if program is None:
        pytest.fail("docker-registry is not installed; run tools/system_packages.sh")
    folder = tmp_path_factory.mktemp("registry")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    (folder / "config.yml").write_text(_CONFIG.format(folder=folder, port=port))
    with (folder / "log").open("w") as log:
        process = subprocess.Popen([program, "serve", str(folder / "config.yml")], stdout=log, stderr=log)
    try:
        _wait_for(f"http://127.0.0.1:{port}/v2/", process)
        yield f"oci+http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


def _wait_for(url: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if requests.get(url, timeout=1).ok:
                return
        except requests.RequestException:
            time.sleep(0.1)
    pytest.fail("docker-registry did not start")


def test_another_institution_finds_fetches_and_verifies(registry: str, built: Path, tmp_path: Path) -> None:  # noqa: F811
    address = f"{registry}/hospitals/models"
    assert open_registry(address).entries() == ()
    entry, new = push(built, address)
    assert new
    assert push(built, address) == (entry, False)
    assert [(found.name, found.version) for found in open_registry(address).entries()] == [("two_parts", "0.1.0")]
    assert open_registry(registry).entries() == ()  # another path of the same registry

    fetched = pull(f"{address}/two_parts:0.1.0", tmp_path)
    assert {name: file_digest(path) for name, path in release_files(fetched).items()} == {
        name: file_digest(path) for name, path in release_files(built).items()
    }
    with pytest.raises(InvalidInputError, match=r"there is 0\.1\.0"):
        pull(f"{address}/two_parts:0.3.0", tmp_path)


def test_a_version_in_the_registry_never_changes(registry: str, release: Path, tmp_path: Path) -> None:  # noqa: F811
    address = f"{registry}/steady"
    push(release, address)
    (tmp_path / "note.txt").write_text("added later\n")
    add_evaluation(release, {"note.txt": tmp_path / "note.txt"})
    with pytest.raises(GateError, match="a version never changes"):
        push(release, address)


def test_a_registry_that_is_not_there_is_named() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with pytest.raises(FederationError, match=f"the registry 127.0.0.1:{port} did not answer"):
        open_registry(f"oci+http://127.0.0.1:{port}/m").find("lungs", "1.0.0")


class _Liar(BaseHTTPRequestHandler):
    """Answers for any manifest with the one layer that the test wants, and for any blob with the same bytes."""

    layer: dict[str, object]
    blob = b"not what you think"

    def do_GET(self) -> None:
        if "/manifests/" in self.path:
            manifest = {"schemaVersion": 2, "artifactType": ARTIFACT, "layers": [self.layer], "annotations": {}}
            body = json.dumps(manifest).encode()
        else:
            body = self.blob
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
        pass


def _layer(title: str, blob: bytes = _Liar.blob, **changes: object) -> dict[str, object]:
    digest = f"sha256:{hashlib.sha256(blob).hexdigest()}"
    about = {"mediaType": "application/octet-stream", "digest": digest, "size": len(_Liar.blob)}
    return about | {"annotations": {"org.opencontainers.image.title": title}} | changes


@pytest.mark.parametrize(
    ("layer", "reason"),
    [
        (_layer("../outside.txt"), "no plain path"),
        (_layer("/etc/cron.d/outside"), "no plain path"),
        (_layer("model.onnx", blob=b"the bytes that were promised"), "other bytes"),
        (_layer("model.onnx", size=3), "other bytes"),
        (_layer("model.onnx", digest="md5:abc"), "malformed"),
        (_layer("model.onnx"), f"holds no {SUMS}"),
        (_layer(SUMS), "cannot be read; give a release"),
    ],
)
def test_a_registry_that_lies_is_not_believed(layer: dict[str, object], reason: str, tmp_path: Path) -> None:
    handler = type("Handler", (_Liar,), {"layer": layer})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            address = f"oci+http://127.0.0.1:{server.server_address[1]}/m"
            with pytest.raises((GateError, InvalidInputError), match=reason):
                pull(f"{address}/lungs:1.0.0", tmp_path / "here")
        finally:
            server.shutdown()
            thread.join()
    assert list(tmp_path.rglob("*.txt")) == []
    assert list((tmp_path / "here").iterdir()) == []
