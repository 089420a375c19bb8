"""The server's health probe: a component of FLARE's server parent that answers over TLS who asks with a certificate."""

import ssl
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import nvflare
from cryptography import x509
from nvflare.apis.event_type import EventType
from nvflare.apis.fl_component import FLComponent
from nvflare.apis.fl_constant import FLContextKey, ProcessType
from nvflare.apis.fl_context import FLContext

import radfed
from radfed.federation.place import campaigns_folder
from radfed.federation.probe_handler import Caller
from radfed.federation.probe_metrics import FlareMetrics, Sample, campaign_samples, exposition
from radfed.federation.probe_server import ProbeServer
from radfed.federation.revocation import read_revocations


class HealthProbe(FLComponent):  # type: ignore[misc] # nvflare has no types
    """Runs a ``ProbeServer`` with the server's own certificate while the server runs.

    Stands in the server's ``resources.json``. If the port is taken, the federation goes on without a probe, and the
    log says so.

    Args:
        port: TCP port to listen at; 0 takes a free one.
        host: address to listen at; all of IPv4 by default.
    """

    def __init__(self, port: int, host: str = "0.0.0.0") -> None:
        super().__init__()
        self._address = (host, port)
        self._metrics = FlareMetrics()
        self._server: ProbeServer | None = None
        self._started = time.time()

    def handle_event(self, event_type: str, fl_ctx: FLContext) -> None:
        """Begin and end with the server's parent process; its jobs have no need of it."""
        if fl_ctx.get_process_type() != ProcessType.SERVER_PARENT:
            return
        if event_type == EventType.SYSTEM_BOOTSTRAP:
            # Before SYSTEM_START, which FLARE's collectors count.
            self._metrics.listen()
        elif event_type == EventType.SYSTEM_START:
            self._start(fl_ctx)
        elif event_type == EventType.SYSTEM_END and self._server is not None:
            self._server.stop()
            self._server = None

    @property
    def port(self) -> int | None:
        """The port that the probe listens at; None if it does not run."""
        return self._server.port if self._server else None

    def _start(self, fl_ctx: FLContext) -> None:
        workspace = fl_ctx.get_prop(FLContextKey.WORKSPACE_OBJECT)
        self._fed_server = fl_ctx.get_prop(FLContextKey.SITE_OBJ)
        self._federation = str(self._fed_server.project_name)
        self._kit, startup = Path(workspace.get_root_dir()), Path(workspace.get_startup_kit_dir())
        try:
            certificate = startup / "server.crt"
            self._not_after = x509.load_pem_x509_certificates(certificate.read_bytes())[0].not_valid_after_utc
            self._server = ProbeServer(
                certificate,
                startup / "server.key",
                startup / "rootCA.pem",
                self._facts,
                metrics=self._text,
                revoked=self._revoked,
                address=self._address,
            )
        except (OSError, ssl.SSLError, ValueError) as error:
            # The training matters more than the probe.
            reason = error.strerror if isinstance(error, OSError) and error.strerror else type(error).__name__
            self.logger.error(
                f"no health probe: port {self._address[1]} of {self._address[0]} cannot be served ({reason}); "
                "give HealthProbe another port in local/resources.json"
            )
            return
        self._server.start()
        self.logger.info(f"health probe listens at port {self._server.port}")

    def _revoked(self, caller: Caller) -> bool:
        return read_revocations(self._kit).covers(caller.name, caller.serial)

    def _clients(self) -> dict[str, float]:
        """Seconds since the last heartbeat, by site."""
        now = time.time()
        clients = list(self._fed_server.client_manager.get_clients().values())
        return {client.name: round(max(0.0, now - client.last_connect_time), 1) for client in clients}

    def _jobs(self) -> list[str]:
        return sorted(self._fed_server.engine.run_processes)

    def _facts(self) -> Mapping[str, object]:
        return {
            "federation": self._federation,
            "radfed": radfed.__version__,
            "nvflare": nvflare.__version__,
            "time": datetime.now(UTC).isoformat(),
            "uptime": round(time.time() - self._started, 1),
            "not_after": self._not_after.isoformat(),
            "clients": [{"name": name, "seconds": age} for name, age in sorted(self._clients().items())],
            "jobs": self._jobs(),
        }

    def _text(self) -> str:
        clients, expiry = self._clients(), self._not_after.timestamp() - time.time()
        own = [
            Sample("radfed_up_seconds", "gauge", time.time() - self._started, help="Since the server started"),
            Sample("radfed_jobs", "gauge", float(len(self._jobs())), help="FLARE jobs that run"),
            Sample("radfed_sites", "gauge", float(len(clients)), help="Sites that are registered"),
            Sample("radfed_certificate_seconds", "gauge", expiry, help="Until the server's certificate expires"),
            *(
                Sample("radfed_site_silence_seconds", "gauge", age, (("site", name),), "Since a site's last heartbeat")
                for name, age in sorted(clients.items())
            ),
        ]
        return exposition([*own, *campaign_samples(campaigns_folder(self._kit)), *self._metrics.samples()])
