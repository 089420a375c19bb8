"""Kits of a real provisioning through FLARE's own `nvflare deploy prepare`, for Docker, Kubernetes and Slurm.

None of the three is at hand here: what is tested is what is written, not what runs. See docs/how-to/deploy-*.md.
"""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from string import Template
from typing import Any

import pytest
import yaml

from radfed.federation.health import UnhealthyError, check_server
from radfed.federation.provisioning import loopback_project
from radfed.federation.provisioning_changes import check

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
MOUNT = "/var/tmp/nvflare/workspace"
VALUES = {
    "IMAGE": "registry.example.org/radfed-site:0.1.0",
    "NAMESPACE": "radfed",
    "CLAIM": "kit",
    "SITE": "site-a",
    "SITE_CLAIM": "site",
    "SITE_FOLDER": "/srv/radfed/site",
    "PARTITION": "cpu",
    "GPU_PARTITION": "gpu",
    "PROBE_PORT": "8003",
    "PYTHON": sys.executable,
}
RUNTIMES = ("docker", "kubernetes", "slurm")
LAUNCHERS = {"docker": "docker_launcher", "kubernetes": "k8s_launcher", "slurm": "slurm_launcher"}
Json = dict[str, Any]


@pytest.fixture(scope="module")
def kits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("prepare")
    ports = []
    for _ in range(2):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            ports.append(free.getsockname()[1])
    project = loopback_project("prepared", ["site-a"], port=ports[0], probe_port=ports[1])
    (root / "project.yml").write_text(project)
    run(["nvflare", "provision", "-p", "project.yml", "-w", "ws"], cwd=root)
    return root / "ws" / "prepared" / "prod_00"


def run(
    command: list[str], cwd: Path | None = None, *, succeeds: bool = True, variables: Mapping[str, str] = VALUES
) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, **variables, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=120)
    assert (done.returncode == 0) == succeeds, done.stdout + done.stderr
    return done


class Prepared:
    """Kits of the server and of a site, prepared once for each runtime."""

    def __init__(self, kits: Path, folder: Path) -> None:
        self._kits, self._folder = kits, folder

    def kit(self, role: str) -> Path:
        return self._kits / {"site": "site-a", "server": "localhost"}[role]

    def __call__(self, role: str, runtime: str, *options: str) -> Path:
        output = self._folder / f"{role}-{runtime}"
        if not output.exists():
            config = DEPLOY / runtime / f"prepare-{role}.yaml"
            run([str(DEPLOY / "prepare.sh"), *options, str(self.kit(role)), str(config), str(output)])
        return output


@pytest.fixture(scope="module")
def prepared(kits: Path, tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    return Prepared(kits, tmp_path_factory.mktemp("prepared"))


def local(kit: Path, name: str) -> Json:
    content: Json = json.loads((kit / "local" / name).read_text())
    return content


def components(kit: Path) -> dict[str, Json]:
    return {entry["id"]: entry for entry in local(kit, "resources.json")["components"]}


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_sites_prepared_kit_keeps_its_policies(prepared: Prepared, runtime: str) -> None:
    kit = prepared.kit("site")
    before = {path: path.read_bytes() for path in kit.rglob("*") if path.is_file()}
    made = prepared("site", runtime)

    for name in ("authorization.json", "privacy.json", "log_config.json", "federation.json"):
        assert (made / "local" / name).read_bytes() == (kit / "local" / name).read_bytes(), name
    old, new = local(kit, "resources.json"), local(made, "resources.json")
    assert {key: value for key, value in new.items() if key != "components"} == {
        key: value for key, value in old.items() if key != "components"
    }
    # FLARE's own changes: who starts jobs, and who counts GPUs. All else is the kit's.
    theirs = {"resource_manager", "resource_consumer", "process_launcher", LAUNCHERS[runtime]}
    kept, there = components(kit), components(made)
    assert LAUNCHERS[runtime] in there
    assert {i: c for i, c in there.items() if i not in theirs} == {i: c for i, c in kept.items() if i not in theirs}
    check({path.name: local(made, path.name) for path in (made / "local").glob("*.json")}, runtime)
    assert not list((made / "local").glob("*.default"))
    assert {path: path.read_bytes() for path in kit.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("runtime", ["docker", "kubernetes"])
def test_a_server_that_starts_its_jobs_itself_keeps_its_kit_as_it_was(prepared: Prepared, runtime: str) -> None:
    kit, made = prepared.kit("server"), prepared("server", runtime, "--processes")
    files = sorted(path.name for path in (kit / "local").iterdir())
    assert sorted(path.name for path in (made / "local").iterdir()) == files
    for name in files:
        assert (made / "local" / name).read_bytes() == (kit / "local" / name).read_bytes()


def test_a_slurm_servers_store_lies_in_the_folder_that_all_nodes_share(prepared: Prepared) -> None:
    made = prepared("server", "slurm")
    assert components(made)["slurm_launcher"]["args"]["workspace_path"] == str(made)
    assert {"health_probe", "revocation_list"} <= components(made).keys()


def test_stock_flare_refuses_the_kit_instead_of_losing_its_policies(kits: Path, tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(filled(DEPLOY / "docker" / "prepare-site.yaml"))
    command = ["nvflare", "deploy", "prepare", str(kits / "site-a"), "--config", str(config)]
    done = run([*command, "--output", str(tmp_path / "made")], succeeds=False)
    assert "resources.json.default" in done.stdout + done.stderr
    assert not (tmp_path / "made").exists()


def test_a_variable_that_is_not_set_is_named_and_nothing_is_written(kits: Path, tmp_path: Path) -> None:
    config, output = DEPLOY / "slurm" / "prepare-site.yaml", tmp_path / "made"
    done = run(
        [str(DEPLOY / "prepare.sh"), str(kits / "site-a"), str(config), str(output)], succeeds=False, variables={}
    )
    assert "set GPU_PARTITION, PARTITION, PYTHON, SITE_FOLDER in the environment" in done.stderr
    assert not output.exists()


def test_the_scripts_that_are_written_are_shell(prepared: Prepared) -> None:
    for runtime in ("docker", "slurm"):
        made = prepared("site", runtime)
        scripts = [*(made / "startup").glob("*.sh"), *(made / "startup").glob("*.slurm")]
        assert scripts
        for script in scripts:
            run(["bash", "-n", str(script)])
    parent = (prepared("site", "slurm") / "startup" / "parent.slurm").read_text()
    assert "#SBATCH --partition=cpu" in parent
    assert 'RADFED_SITE="/srv/radfed/site"' in parent


def test_the_chart_runs_the_image_on_the_claim(prepared: Prepared) -> None:
    site, server = prepared("site", "kubernetes"), prepared("server", "kubernetes", "--processes")
    for kit, service, module in ((site, "site-a", "client_train"), (server, "radfed-server", "server_train")):
        values = yaml.safe_load((kit / "helm_chart" / "values.yaml").read_text())
        assert values["serviceName"] == service
        assert values["image"] == values["image"] | {"repository": VALUES["IMAGE"].rsplit(":", 1)[0], "tag": "0.1.0"}
        assert values["persistence"]["workspace"] == values["persistence"]["workspace"] | {"claimName": "kit"}
        assert values["persistence"]["workspace"]["mountPath"] == MOUNT
        assert values["securityContext"]["runAsNonRoot"] is True
        assert any(argument.endswith(module) for argument in values["args"])


def test_the_prepared_server_runs_with_the_charts_own_command(prepared: Prepared, tmp_path: Path) -> None:
    """All that the pod would run, without the pod: same command, with the mount's path replaced by the folder's."""
    made = tmp_path / "workspace"
    shutil.copytree(prepared("server", "kubernetes", "--processes"), made)
    values = yaml.safe_load((made / "helm_chart" / "values.yaml").read_text())
    arguments = [str(made) if argument == MOUNT else argument for argument in values["args"]]
    with (made / "console.txt").open("wb") as console:
        process = subprocess.Popen(
            [sys.executable, *arguments],
            cwd=made,
            stdout=console,
            stderr=console,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
    try:
        wait_for_health(made, process)
    finally:
        process.kill()
        process.wait()


def wait_for_health(kit: Path, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + 40
    while (said := says(kit)) != "prepared":
        assert process.poll() is None, (kit / "console.txt").read_text()[-2000:]
        assert time.monotonic() < end, said
        time.sleep(0.5)


def says(kit: Path) -> object:
    try:
        return check_server(kit)["federation"]
    except UnhealthyError as error:
        return error


def filled(path: Path) -> str:
    return Template(path.read_text()).substitute(VALUES)


def test_kubernetes_takes_the_patches(tmp_path: Path) -> None:
    if shutil.which("kubectl") is None:
        pytest.skip("kubectl is not installed")
    for role, name in (("site", "site-a"), ("server", "radfed-server")):
        (tmp_path / "deployment.yaml").write_text(yaml.safe_dump(deployment(name)))
        (tmp_path / "patch.yaml").write_text(filled(DEPLOY / "kubernetes" / f"patch-{role}.yaml"))
        command = ["kubectl", "patch", "--local", "-f", "deployment.yaml", "--patch-file", "patch.yaml", "-o", "yaml"]
        patched = yaml.safe_load(run(command, cwd=tmp_path).stdout)["spec"]["template"]["spec"]
        (container,) = patched["containers"]
        assert container["readinessProbe"]["exec"]["command"][-2:] == ["radfed.federation.health", MOUNT]
        assert {"name": "workspace", "mountPath": MOUNT} in container["volumeMounts"]
        assert "livenessProbe" not in container
        if role == "site":
            assert {"name": "site", "mountPath": "/data/default/site"} in container["volumeMounts"]
            assert {volume["name"] for volume in patched["volumes"]} == {"workspace", "site"}
        else:
            assert {"name": "probe", "containerPort": 8003, "protocol": "TCP"} in container["ports"]


def deployment(name: str) -> Json:
    """A Deployment as FLARE's chart renders it, as far as the patches touch it."""
    labels = {"app.kubernetes.io/name": name}
    container = {"name": name, "image": "x", "volumeMounts": [{"name": "workspace", "mountPath": MOUNT}]}
    volumes = [{"name": "workspace", "persistentVolumeClaim": {"claimName": "kit"}}]
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container], "volumes": volumes}},
        },
    }


def test_the_probes_service_selects_the_servers_pod_by_the_charts_own_label(prepared: Prepared) -> None:
    made = prepared("server", "kubernetes", "--processes")
    values = yaml.safe_load((made / "helm_chart" / "values.yaml").read_text())
    service = yaml.safe_load(filled(DEPLOY / "kubernetes" / "probe-service.yaml"))
    helpers = (made / "helm_chart" / "templates" / "_helpers.tpl").read_text()
    label = re.search(r'"nvflare-server.selectorLabels" -}}\n(\S+): {{ include "nvflare-server.name"', helpers)
    assert label is not None
    assert service["spec"]["selector"] == {label[1]: values["serviceName"]}


@pytest.mark.parametrize("runtime", ["docker", "kubernetes"])
def test_flare_takes_the_sites_study_runtime(tmp_path: Path, runtime: str) -> None:
    from nvflare.app_opt.job_launcher.study_runtime import load_study_runtime_file, resolve_study_runtime

    path = tmp_path / "study_runtime.yaml"
    path.write_text(filled(DEPLOY / runtime / "study_runtime.site.yaml"))
    mode = {"docker": "docker", "kubernetes": "k8s"}[runtime]
    found = resolve_study_runtime(load_study_runtime_file(str(path), mode), "default", str(path))
    assert found is not None
    assert found.container_image == VALUES["IMAGE"]
    (mount,) = found.datasets
    assert (mount.mount_path, mount.mode) == (found.env["RADFED_SITE"], "rw")


@pytest.mark.parametrize("path", sorted(DEPLOY.rglob("*.y*ml")), ids=lambda path: path.relative_to(DEPLOY).as_posix())
def test_every_file_is_yaml_and_names_no_variable_that_it_does_not_explain(path: Path) -> None:
    text = path.read_text()
    names = set(re.findall(r"\$\{(\w+)", text)) - {"THREADS"}
    comments = "\n".join(line for line in text.splitlines() if line.lstrip().startswith("#"))
    assert names <= set(re.findall(r"\w+", comments)), "explain each variable in the file's head"
    assert yaml.safe_load(text)


@pytest.mark.parametrize("role", ["server", "site"])
def test_a_composed_container_has_few_rights(role: str) -> None:
    (service,) = yaml.safe_load((DEPLOY / "docker" / f"compose.{role}.yaml").read_text())["services"].values()
    assert service["cap_drop"] == ["ALL"]
    assert service["read_only"] is True
    assert "no-new-privileges:true" in service["security_opt"]
    assert not [volume for volume in service["volumes"] if "docker.sock" in volume]
    assert not service.get("privileged", False)
    assert ("ports" in service) == (role == "server")


def test_the_image_copies_only_what_the_package_is_built_from() -> None:
    dockerfile = (DEPLOY / "docker" / "Dockerfile").read_text()
    copied = {word for line in re.findall(r"^COPY (.*)$", dockerfile, re.MULTILINE) for word in line.split()[:-1]}
    allowed = (DEPLOY / "docker" / "Dockerfile.dockerignore").read_text().splitlines()
    assert {f"!{name}" for name in copied} == {line for line in allowed if line.startswith("!")}
    assert all((ROOT / name).exists() for name in copied)
    assert f"ENV RADFED_KIT={MOUNT}" in dockerfile
    assert "-m radfed.federation.health" in dockerfile


def test_alerts_and_dashboard_name_metrics_that_the_probe_has() -> None:
    source = "".join(path.read_text() for path in (ROOT / "pipelines/radfed/federation").glob("probe*.py"))
    text = "".join((DEPLOY / "prometheus" / name).read_text() for name in ("alerts.yml", "grafana.json"))
    json.loads((DEPLOY / "prometheus" / "grafana.json").read_text())
    used = set(re.findall(r"radfed_[a-z_]+", text))
    assert used
    assert not [name for name in used if f'"{name}"' not in source]
