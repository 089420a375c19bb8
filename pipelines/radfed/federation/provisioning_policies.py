"""What a kit's ``local/`` says: which classes may run, who may do what, what leaves a site, what is logged.

Plain data: no file is read or written here.
"""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import TypeAlias

from radfed.federation.recipe import ALLOWED_CLASSES

Json: TypeAlias = Mapping[str, "Json"] | Sequence["Json"] | str | int | float | bool | None
Policies: TypeAlias = dict[str, dict[str, Json]]
"""The content of each policy file, by file name."""

SCOPE = "radfed"
GUARD: dict[str, Json] = {"id": "app_deployer", "path": "radfed.federation.guard.ApprovingDeployer"}
EGRESS: dict[str, Json] = {"path": "radfed.federation.egress.EgressFilter"}
CERTIFICATE_CHECK: dict[str, Json] = {
    "id": "certificate_check",
    "path": "radfed.federation.certificates.CertificateCheck",
}
STORE = "store"
"""Folder of the server's kit for jobs and snapshots."""

# FLARE's own counters, and what they call this participant.
_METRICS = "nvflare.metrics"
_TAGS: dict[str, Json] = {"tags": {"site": "server"}}

# Seconds without a heartbeat after which the server takes a site for dead. Sites send one every 10 s; a minute of
# broken network must not cost a site its place, and a dead host must not hold a round for FLARE's default of 600 s.
_HEARTBEAT_TIMEOUT = 180

FIXED: dict[str, Json] = {"class_list_enforcement_mode": "enforce", "class_allow_list": sorted(ALLOWED_CLASSES)}


def site_policies() -> Policies:
    """The policies of a site that has made no changes of its own."""
    components: list[Json] = [
        CERTIFICATE_CHECK,
        {
            "id": "resource_manager",
            "path": "nvflare.app_common.resource_managers.gpu_resource_manager.GPUResourceManager",
            "args": {"num_of_gpus": 0, "mem_per_gpu_in_GiB": 0, "expiration_period": 300},
        },
        {
            "id": "resource_consumer",
            "path": "nvflare.app_common.resource_consumers.gpu_resource_consumer.GPUResourceConsumer",
        },
        {
            "id": "process_launcher",
            "path": "nvflare.app_common.job_launcher.client_process_launcher.ClientProcessJobLauncher",
        },
        GUARD,
        {"id": "heartbeat_file", "path": "radfed.federation.monitoring.HeartbeatFile"},
    ]
    resources: dict[str, Json] = {
        "format_version": 2,
        **deepcopy(FIXED),
        "allow_log_streaming": False,
        "client": {"retry_timeout": 30, "compression": "Gzip"},
        "components": components,
    }
    privacy: dict[str, Json] = {
        "scopes": [{"name": SCOPE, "properties": {}, "task_data_filters": [], "task_result_filters": [dict(EGRESS)]}],
        "default_scope": SCOPE,
    }
    return {
        "resources.json": resources,
        "authorization.json": authorization(site=True),
        "privacy.json": privacy,
        "log_config.json": log_config(),
    }


def server_policies(probe_port: int) -> Policies:
    """The policies of the server.

    Args:
        probe_port: TCP port of the health probe.
    """
    storage = "radfed.federation.provisioning_storage.KitStorage"
    resources: dict[str, Json] = {
        "format_version": 2,
        **deepcopy(FIXED),
        "servers": [
            {
                "admin_storage": "transfer",
                "max_num_clients": 100,
                "heart_beat_timeout": _HEARTBEAT_TIMEOUT,
                # How long a site may take over a job that is deployed; a busy one takes longer than FLARE's 10 s.
                "admin_timeout": 30.0,
            }
        ],
        "snapshot_persistor": {
            "path": "nvflare.app_common.state_persistors.storage_state_persistor.StorageStatePersistor",
            "args": {"uri_root": "/", "storage": {"path": storage, "args": {"root_dir": f"{STORE}/snapshots"}}},
        },
        "components": [
            CERTIFICATE_CHECK,
            {
                "id": "job_scheduler",
                "path": "nvflare.app_common.job_schedulers.job_scheduler.DefaultJobScheduler",
                "args": {"max_jobs": 4},
            },
            {
                "id": "job_manager",
                "path": "nvflare.apis.impl.job_def_manager.SimpleJobDefManager",
                "args": {"uri_root": f"{STORE}/jobs", "job_store_id": "job_store"},
            },
            {"id": "job_store", "path": storage},
            {
                "id": "process_launcher",
                "path": "nvflare.app_common.job_launcher.server_process_launcher.ServerProcessJobLauncher",
            },
            {"id": "revocation_list", "path": "radfed.federation.revocation.RevocationList"},
            {"id": "health_probe", "path": "radfed.federation.probe.HealthProbe", "args": {"port": probe_port}},
            # FLARE's own collectors; the probe shows what they count to Prometheus.
            {"id": "system_metrics", "path": f"{_METRICS}.system_metrics_collector.SysMetricsCollector", "args": _TAGS},
            {"id": "job_metrics", "path": f"{_METRICS}.job_metrics_collector.JobMetricsCollector", "args": _TAGS},
        ],
    }
    return {
        "resources.json": resources,
        "authorization.json": authorization(site=False),
        "log_config.json": log_config(),
    }


def authorization(*, site: bool) -> dict[str, Json]:
    """Who may do what. Nobody may bring code, nor read files or set what is logged from afar.

    FLARE lets a role with the single word ``any`` do everything, code included, so each role names its rights.

    Args:
        site: for a site, whose folders and errors are nobody else's; else for the server.
    """
    closed = ["byoc", "shell_commands", "server-predeployed-flwr", "configure_site_log", "configure_job_log"]
    closed += ["report_env", "show_errors"] if site else []
    nothing = dict.fromkeys(closed, "none")
    # app_command, get_job_log and report_version are in none of FLARE's groups of rights: they must be named.
    jobs = ("clone_job", "manage_job", "download_job", "app_command", "get_job_log")
    own = dict.fromkeys(jobs, "n:submitter") | {"report_version": "any"}
    admin = dict.fromkeys((*jobs, "report_version", "submit_job", "view", "operate"), "any")
    org = {"clone_job": "none", "manage_job": "o:submitter", "download_job": "o:submitter"}
    return {
        "format_version": "1.0",
        "permissions": {
            "project_admin": admin | nothing,
            "org_admin": {"submit_job": "none", **org, "view": "any", "operate": "o:site"} | nothing,
            "lead": {"submit_job": "any", **own, "view": "any", "operate": "o:site"} | nothing,
            "member": {"view": "any"} | nothing,
        },
    }


def log_config() -> dict[str, Json]:
    """Logs: ``log.json`` with a line of JSON an event; ``log.txt`` and the console for people and FLARE's commands.

    No path, host name, address or DICOM UID gets into any of them.
    """
    formatter = "nvflare.fuel.utils.log_utils."
    # ``process`` tells the parent from the processes of its jobs.
    fields = ("asctime", "levelname", "fullName", "process", "identity", "fl_ctx", "message")
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "line": {
                "()": f"{formatter}BaseFormatter",
                "fmt": "%(asctime)s - %(name)s - %(levelname)s - %(fl_ctx)s - %(message)s",
            },
            "json": {"()": f"{formatter}JsonFormatter", "fmt": " - ".join(f"%({field})s" for field in fields)},
        },
        "filters": {"scrub": {"()": "radfed.federation.monitoring.LogScrubber"}},
        "handlers": {
            "console": {
                "class": "logging.StreamHandler",
                "level": "INFO",
                "formatter": "line",
                "filters": ["scrub"],
                "stream": "ext://sys.stdout",
            },
            "text": {**_rotating(), "formatter": "line", "filename": "log.txt"},
            "lines": {**_rotating(), "formatter": "json", "filename": "log.json"},
        },
        "loggers": {"root": {"level": "INFO", "handlers": ["console", "text", "lines"]}},
    }


def _rotating() -> dict[str, Json]:
    return {
        "class": "logging.handlers.RotatingFileHandler",
        "level": "INFO",
        "filters": ["scrub"],
        "mode": "a",
        "maxBytes": 20 * 2**20,
        "backupCount": 10,
    }
