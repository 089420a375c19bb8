"""A registry that speaks OCI's distribution protocol: what keeps container images keeps releases as well.

A release is one manifest of its own artifact type, tagged with its version: a layer a file, titled with the file's path
as ORAS does, so that ``oras pull`` fetches it too. Who may read and write is the registry's business; credentials are
those of ``docker login`` or ``oras login``.
"""

import hashlib
import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self
from urllib.parse import urljoin, urlsplit

import requests
from oras.container import Container
from oras.provider import Registry as Oras
from pydantic import Field, ValidationError
from requests.adapters import HTTPAdapter

from radfed.errors import FederationError, GateError, InvalidInputError
from radfed.inference.checksums import SUMS, file_digest
from radfed.release.registry import Entry, safe_name
from radfed.settings import Settings

SCHEMES = ("oci://", "oci+http://")
ARTIFACT = "application/vnd.radfed.release.v1"
_CONFIG = "application/vnd.radfed.release.config.v1+json"
_FILE = "application/octet-stream"
_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_TITLE, _SUMS = "org.opencontainers.image.title", "org.radfed.release.sums"
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_PATH = re.compile(r"[a-z0-9]+(?:[._-]+[a-z0-9]+)*(?:/[a-z0-9]+(?:[._-]+[a-z0-9]+)*)*")
_SECONDS = 60
_MISSING = 404


class _Layer(Settings):
    """A blob of a manifest, as far as a release needs it."""

    mediaType: str  # noqa: N815 - OCI's name
    digest: str = Field(pattern=r"^sha256:[0-9a-f]{64}$")
    size: int = Field(ge=0)
    annotations: dict[str, str] = Field(default_factory=dict)


class _Patient(HTTPAdapter):
    """Gives every request a time after which it has failed; oras has none."""

    def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> requests.Response:  # noqa: ANN401 - as requests declares it
        return super().send(request, *args, **{**kwargs, "timeout": kwargs.get("timeout") or _SECONDS})


@dataclass(frozen=True)
class OciRegistry:
    """Releases under one path of an OCI registry."""

    host: str
    path: str
    plain: bool

    @classmethod
    def at(cls, address: str) -> Self:
        """The registry at ``oci://HOST[:PORT]/PATH``.

        Raises:
            InvalidInputError: it is no such address, or one without TLS is on another machine.
        """
        parts = urlsplit(address)
        path = parts.path.strip("/")
        if not parts.hostname or parts.username or parts.query or (path and not _PATH.fullmatch(path)):
            raise InvalidInputError(
                f"{address}: give oci://HOST[:PORT]/PATH with a path in lower case, and no password"
            )
        plain = parts.scheme == "oci+http"
        if plain and parts.hostname not in _LOOPBACK:
            raise InvalidInputError(f"{address}: oci+http is for a registry on this machine; elsewhere use oci://")
        return cls(parts.netloc, path, plain)

    def entries(self) -> tuple[Entry, ...]:
        """See ``Registry``."""
        with self._talk() as client:
            names = [name for name in self._catalogue(client) if "/" not in name]
            found = []
            for name in names:
                tags = client.get_tags(self._container(name, "latest"))
                found += [Entry(name=name, version=tag) for tag in sorted(tags)]
        return tuple(found)

    def find(self, name: str, version: str) -> Entry | None:
        """See ``Registry``."""
        with self._talk() as client:
            manifest = self._manifest(client, self._container(name, version))
        if manifest is None:
            return None
        noted = (manifest.get("annotations") or {}).get(_SUMS)
        return Entry(name=name, version=version, digest=noted if isinstance(noted, str) else None)

    def put(self, entry: Entry, files: Mapping[str, Path]) -> None:
        """See ``Registry``."""
        container = self._container(entry.name, entry.version)
        with self._talk() as client, tempfile.TemporaryDirectory() as scratch:
            client.auth.load_configs(container)
            config = Path(scratch) / "config.json"
            config.write_text(entry.model_dump_json(), encoding="utf-8")
            layers = [self._upload(client, container, path, _FILE, name) for name, path in sorted(files.items())]
            manifest = {
                "schemaVersion": 2,
                "mediaType": _MANIFEST,
                "artifactType": ARTIFACT,
                "config": self._upload(client, container, config, _CONFIG),
                "layers": layers,
                # The tag is written last: until then nobody can find the release.
                "annotations": {_TITLE: f"{entry.name}-{entry.version}", _SUMS: entry.digest},
            }
            _check(client.upload_manifest(manifest, container))

    def get(self, name: str, version: str, folder: Path) -> None:
        """See ``Registry``."""
        container = self._container(name, version)
        with self._talk() as client:
            manifest = self._manifest(client, container)
            if manifest is None or manifest.get("artifactType") != ARTIFACT:
                raise GateError(f"{name} {version} in the registry is no release of radfed")
            try:
                layers = [_Layer.model_validate(layer) for layer in manifest.get("layers", [])]
            except ValidationError as error:
                raise GateError(f"the registry's manifest of {name} {version} is malformed") from error
            for layer in layers:
                target = folder / safe_name(layer.annotations.get(_TITLE, ""))
                target.parent.mkdir(parents=True, exist_ok=True)
                self._download(client, container, layer, target)
        if not (folder / SUMS).is_file():
            raise GateError(f"{name} {version} in the registry holds no {SUMS}")

    def _container(self, name: str, version: str) -> Container:
        return Container(f"{self.host}/{f'{self.path}/' if self.path else ''}{name}:{version}", registry=self.host)

    @contextmanager
    def _talk(self) -> Iterator[Oras]:
        client = Oras(hostname=self.host, insecure=self.plain)
        for scheme in ("http://", "https://"):
            client.session.mount(scheme, _Patient())
        try:
            # One plain question first: oras asks a registry that is not there again for two minutes.
            client.session.get(f"{client.prefix}://{self.host}/v2/", timeout=_SECONDS)
            yield client
        except (requests.RequestException, ValueError) as error:
            # Not the text: it can hold a signed address of the registry's storage.
            raise FederationError(
                f"the registry {self.host} did not answer as it should ({type(error).__name__}); check its address "
                "and whether you are logged in ('docker login' or 'oras login')"
            ) from error

    def _catalogue(self, client: Oras) -> list[str]:
        """Names of the repositories under the path."""
        client.auth.load_configs(self._container("any", "latest"))
        prefix = f"{self.path}/" if self.path else ""
        names: list[str] = []
        start = f"{client.prefix}://{self.host}"
        page = "/v2/_catalog?n=1000"
        while page:
            response = client.do_request(urljoin(start, page), "GET")
            _check(response)
            names += response.json().get("repositories") or []
            page = response.links.get("next", {}).get("url", "")
        return sorted(name.removeprefix(prefix) for name in names if name.startswith(prefix))

    @staticmethod
    def _manifest(client: Oras, container: Container) -> dict[str, Any] | None:
        client.auth.load_configs(container)
        url = f"{client.prefix}://{container.manifest_url()}"
        response = client.do_request(url, "GET", headers={"Accept": _MANIFEST})
        if response.status_code == _MISSING:
            return None
        _check(response)
        manifest = response.json()
        if not isinstance(manifest, dict):
            raise GateError("the registry's manifest is malformed")
        return manifest

    @staticmethod
    def _upload(client: Oras, container: Container, path: Path, kind: str, title: str | None = None) -> dict[str, Any]:
        layer: dict[str, Any] = {
            "mediaType": kind,
            "digest": f"sha256:{file_digest(path)}",
            "size": path.stat().st_size,
        }
        _check(client.upload_blob(str(path), container, layer))
        return layer if title is None else {**layer, "annotations": {_TITLE: title}}

    @staticmethod
    def _download(client: Oras, container: Container, layer: _Layer, target: Path) -> None:
        digest, size = hashlib.sha256(), 0
        with client.get_blob(container, layer.digest, stream=True) as response, target.open("xb") as file:
            _check(response)
            for chunk in response.iter_content(chunk_size=1 << 20):
                size += len(chunk)
                if size > layer.size:
                    break
                digest.update(chunk)
                file.write(chunk)
        if size != layer.size or f"sha256:{digest.hexdigest()}" != layer.digest:
            raise GateError(f"{target.name}: the registry gave other bytes than its manifest lists")


def _check(response: requests.Response) -> None:
    """Refuse an answer that is no success.

    Raises:
        FederationError: with the registry's status and no more of it.
    """
    if not response.ok:
        said = ""
        with suppress(ValueError, KeyError, IndexError, TypeError):
            said = f": {response.json()['errors'][0]['code']}"
        raise FederationError(f"the registry refused ({response.status_code}{said[:60]})")
