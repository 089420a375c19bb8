"""A PACS to try things on: a local Orthanc with authentication, gone without trace when it ends.

Run ``python tools/test_pacs.py``; it prints the addresses and settings, and stops with Ctrl-C.
"""

import argparse
import asyncio
import datetime
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
USER, PASSWORD, AET, OUR_AET = "radfed", "for-tests-only", "TESTPACS", "RADFED"
_START_SECONDS = 30.0


class MissingOrthancError(RuntimeError):
    """Orthanc or its DICOMweb plugin is not installed."""


@dataclass(frozen=True)
class Certificates:
    """PEM files for both ends, of one self-signed authority, valid for a day."""

    authority: Path
    certificate: Path
    key: Path

    @classmethod
    def make(cls, folder: Path) -> Self:
        """Write an authority's certificate, and a certificate for this machine with its key."""
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes, serialization
        from cryptography.hazmat.primitives.asymmetric import ec

        now = datetime.datetime.now(datetime.UTC)
        pem = serialization.Encoding.PEM

        def certificate(name: str, key: ec.EllipticCurvePrivateKey, signer: x509.Name) -> x509.CertificateBuilder:
            return (
                x509.CertificateBuilder()
                .subject_name(_name(name))
                .issuer_name(signer)
                .public_key(key.public_key())
                .serial_number(x509.random_serial_number())
                .not_valid_before(now - datetime.timedelta(hours=1))
                .not_valid_after(now + datetime.timedelta(days=1))
            )

        def _name(text: str) -> x509.Name:
            return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)])

        root, leaf = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
        issuer = _name("radfed test authority")
        authority = (
            certificate("radfed test authority", root, issuer)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(root, hashes.SHA256())
        )
        names = [x509.DNSName("localhost")]  # and not 127.0.0.1, so that checking of names can be tried
        ours = (
            certificate("localhost", leaf, issuer)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .sign(root, hashes.SHA256())
        )
        made = cls(folder / "authority.pem", folder / "certificate.pem", folder / "key.pem")
        made.authority.write_bytes(authority.public_bytes(pem))
        made.certificate.write_bytes(ours.public_bytes(pem))
        made.key.touch(mode=0o600)
        made.key.write_bytes(leaf.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
        return made


def free_port() -> int:
    """A TCP port on loopback that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class TlsProxy:
    """Speaks TLS in front of a port on loopback, as a web server does in front of a PACS; asks for a certificate."""

    def __init__(self, certificates: Certificates, to_port: int) -> None:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=certificates.authority)
        context.load_cert_chain(certificates.certificate, certificates.key)
        context.verify_mode = ssl.CERT_REQUIRED
        self.port = free_port()
        self._to_port = to_port
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._started = threading.Event()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._run(context),), daemon=True)
        self._thread.start()
        self._started.wait(_START_SECONDS)

    def stop(self) -> None:
        """End every connection."""
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()
        self._loop.close()

    async def _run(self, context: ssl.SSLContext) -> None:
        async with await asyncio.start_server(self._serve, "127.0.0.1", self.port, ssl=context):
            self._started.set()
            await self._stop.wait()
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        behind, ahead = await asyncio.open_connection("127.0.0.1", self._to_port)
        with suppress(asyncio.CancelledError):  # at the end; asyncio would report it as an error
            await asyncio.gather(self._pump(reader, ahead), self._pump(behind, writer))

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with suppress(OSError):
                while data := await reader.read(1 << 16):
                    writer.write(data)
                    await writer.drain()
        finally:
            writer.close()


@dataclass
class Orthanc:
    """A running Orthanc on loopback. DICOMweb wants a user, DIMSE wants both AE titles; ``with`` ends it.

    Attributes:
        certificates: with them it speaks TLS only, over HTTP and over DICOM.
        extra: more of Orthanc's own configuration.
    """

    certificates: Certificates | None = None
    extra: dict[str, object] = field(default_factory=dict)
    http_port: int = field(default_factory=free_port)
    dicom_port: int = field(default_factory=free_port)
    move_port: int = field(default_factory=free_port)
    _proxy: "TlsProxy | None" = None

    @property
    def web_port(self) -> int:
        """Where DICOMweb is spoken to."""
        return self._proxy.port if self._proxy else self.http_port

    @property
    def dicomweb(self) -> str:
        """Its address for DICOMweb."""
        return f"dicomweb+{'https' if self.certificates else 'http'}://localhost:{self.web_port}/dicom-web"

    @property
    def dimse(self) -> str:
        """Its address for DIMSE."""
        return f"dimse{'+tls' if self.certificates else ''}://{AET}@localhost:{self.dicom_port}"

    @property
    def settings(self) -> dict[str, object]:
        """PacsSettings that fit it, as a mapping."""
        files = self.certificates
        tls = {"ca_file": files.authority, "certificate": files.certificate, "key": files.key} if files else {}
        return {"ae_title": OUR_AET, "port": self.move_port, "min_free_gb": 0.0, **tls}

    def __enter__(self) -> Self:
        binary = shutil.which("Orthanc", path=os.environ.get("PATH", "") + ":/usr/sbin")
        if binary is None or not PLUGIN.exists():
            raise MissingOrthancError("Orthanc or its DICOMweb plugin is not installed; run tools/system_packages.sh")
        self._folder = Path(tempfile.mkdtemp(prefix="radfed-orthanc-"))
        configuration = self._folder / "orthanc.json"
        configuration.touch(mode=0o600)
        configuration.write_text(json.dumps(self._configuration() | self.extra), encoding="utf-8")
        with (self._folder / "log").open("wb") as log:
            # The process dies with ours even if ours is killed: PR_SET_PDEATHSIG is what setpriv sets.
            guard = ["setpriv", "--pdeathsig", "KILL"] if shutil.which("setpriv") else []
            self._process = subprocess.Popen([*guard, binary, str(configuration)], stdout=log, stderr=log)
        try:
            self._wait()
            # Debian 12's Orthanc 1.10.1 ends with SIGSEGV at the first HTTPS request (its civetweb with OpenSSL 3).
            self._proxy = TlsProxy(self.certificates, self.http_port) if self.certificates else None
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """End it at once; there is nothing to keep."""
        if self._proxy:
            self._proxy.stop()
        self._process.kill()
        self._process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _configuration(self) -> dict[str, object]:
        tls: dict[str, object] = {}
        if self.certificates:
            tls = {
                "DicomTlsEnabled": True,
                "DicomTlsCertificate": str(self.certificates.certificate),
                "DicomTlsPrivateKey": str(self.certificates.key),
                "DicomTlsTrustedCertificates": str(self.certificates.authority),
            }
        return {
            "Name": "radfed test",
            "StorageDirectory": str(self._folder / "storage"),
            "IndexDirectory": str(self._folder / "storage"),
            "TemporaryDirectory": str(self._folder),
            "SyncStorageArea": False,
            "HttpPort": self.http_port,
            "RemoteAccessAllowed": False,
            "AuthenticationEnabled": True,
            "RegisteredUsers": {USER: PASSWORD},
            "Plugins": [str(PLUGIN)],
            "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
            "DicomAet": AET,
            "DicomPort": self.dicom_port,
            "DicomCheckCalledAet": True,
            "DicomCheckModalityHost": True,
            "DicomAlwaysAllowEcho": False,
            "DicomAlwaysAllowStore": False,
            "DicomModalities": {
                "radfed": {
                    "AET": OUR_AET,
                    "Host": "127.0.0.1",
                    "Port": self.move_port,
                    "UseDicomTls": self.certificates is not None,
                }
            },
            "DicomScuTimeout": 2,
            "OverwriteInstances": True,
            **tls,
        }

    def _wait(self) -> None:
        end = time.monotonic() + _START_SECONDS
        while time.monotonic() < end:
            if self._process.poll() is not None:
                break
            with suppress(OSError):
                # The DICOM server starts before the HTTP server.
                socket.create_connection(("127.0.0.1", self.http_port), timeout=1).close()
                return
            time.sleep(0.02)
        log = (self._folder / "log").read_text(errors="replace")
        raise RuntimeError(f"Orthanc did not start in {_START_SECONDS:.0f} s:\n{log[-2000:]}")


def main() -> None:
    """Start one and wait."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tls", action="store_true", help="speak TLS only")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # so that it leaves nothing behind then either
    with tempfile.TemporaryDirectory() as folder:
        certificates = Certificates.make(Path(folder)) if arguments.tls else None
        try:
            with Orthanc(certificates) as pacs:
                print(f"DICOMweb  {pacs.dicomweb}\nDIMSE     {pacs.dimse}\n")
                print(f"export RADFED_PACS_USER={USER} RADFED_PACS_PASSWORD={PASSWORD}\n\npacs:  # in site.yaml")
                print("".join(f"  {key}: {value}\n" for key, value in pacs.settings.items()))
                sys.stdout.flush()
                while True:
                    time.sleep(3600)
        except KeyboardInterrupt:
            pass


if __name__ == "__main__":
    main()
