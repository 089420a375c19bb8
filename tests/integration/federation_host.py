"""A whole federation on this machine: stock provisioning, the kits' own start scripts, mTLS, and every process ours.

Nothing here knows how radfed trains. What a test needs of the participants' environment (a folder on ``PYTHONPATH``
with a ``sitecustomize.py``, a network namespace) is given by name.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

import yaml
from tests.integration.federation_processes import Found, Role, end_all, find, kill, lines_of, wait_for
from tests.integration.federation_setup import ENGINEER, free_port, listens, project, quick_sleep

from radfed.federation.console import Console
from radfed.site.config import SiteSettings, init_site
from radfed.site.kit import write_kit_link

SERVER = "server"
"""The server's name in this module; its kit is named for its host."""
_REGISTERED = "Successfully registered client"


@dataclass
class LoopbackFederation:
    """Provisions, starts, watches and surely ends a server and its sites, each in process groups of its own.

    Attributes:
        root: a new folder; its path must hold no space, since FLARE splits its command lines at them.
        sites: names of the sites.
        datasets: by site, its prepared dataset.
        host: what sites call the server; a name or an address of this machine.
        hooks: by participant, a folder that stands first on its ``PYTHONPATH``.
        prefix: by participant, a command before its start script, for example ``ip netns exec NAME``.
        extra: by participant, more environment variables.
        changes: folder with changes to the kits' policies, as ``site_configs/``.
    """

    root: Path
    sites: Sequence[str]
    datasets: Mapping[str, Path]
    host: str = "localhost"
    hooks: Mapping[str, Path] = field(default_factory=dict)
    prefix: Mapping[str, Sequence[str]] = field(default_factory=dict)
    extra: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    changes: Path | None = None

    def __post_init__(self) -> None:
        if " " in str(self.root):
            raise ValueError(f"{self.root}: FLARE splits its command lines at spaces; give another folder")
        self.port, self.probe_port = free_port(), free_port()
        self._kits = self.root / "ws" / self.name / "prod_00"

    @property
    def name(self) -> str:
        """The federation's name."""
        return f"radfed-{self.root.name}".replace("_", "-")

    def __enter__(self) -> Self:
        try:
            self.provision()
            for site in self.sites:
                self.join(site, self.datasets[site])
            self.start(SERVER, *self.sites)
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        end_all(self._temporary)

    @property
    def _temporary(self) -> Path:
        return self.root / "tmp"

    def kit(self, participant: str) -> Path:
        """The startup kit of the server, a site or an administrator; also its workspace."""
        return self._kits / (self.host if participant == SERVER else participant)

    def site_folder(self, site: str) -> Path:
        """Where the site keeps ``site.yaml`` and what it has decided."""
        return self.root / "sites" / site

    def provision(self) -> None:
        """Write the kits with FLARE's own command."""
        self.root.mkdir(parents=True, exist_ok=True)
        file = self.root / "project.yml"
        text = project(self.name, self.host, self.port, self.probe_port, self.sites, self.changes)
        file.write_text(text, encoding="utf-8")
        self.run("nvflare", "provision", "-p", str(file), "-w", str(self.root / "ws"))

    def join(self, site: str, dataset: Path, standing: str | None = ".*") -> None:
        """Make the site's own folder, linked with its kit, as ``radfed site init`` does.

        Args:
            site: its name.
            dataset: its prepared dataset.
            standing: names of jobs that may run without asking; None: each has to be approved, see ``approve``.
        """
        folder = self.site_folder(site)
        init_site(folder, site)
        write_kit_link(self.kit(site), folder)
        file = folder / "site.yaml"
        settings = yaml.safe_load(file.read_text(encoding="utf-8")) | {"dataset": str(dataset.resolve()), "threads": 1}
        if standing is not None:
            settings["approval"] = {"standing": [{"jobs": standing}]}
        file.write_text(SiteSettings.check(settings, str(file)).to_yaml(), encoding="utf-8")

    def approve(self, job: Path, *sites: str) -> None:
        """Approve an exported job at sites, or at all."""
        for site in sites or self.sites:
            self.run("radfed", "site", "approve", str(self.site_folder(site)), "--job", str(job), "--yes")

    def start(self, *participants: str, seconds: float = 90) -> None:
        """Run the kits' ``start.sh`` and wait until the server listens and every site has registered."""
        before = {name: self.registrations(name) for name in participants if name != SERVER}
        for name in participants:
            self._launch(name)
        if SERVER in participants:
            wait_for(lambda: listens(self.host, self.port), seconds, f"server on port {self.port}")

        def joined() -> bool:
            return all(self.registrations(name) > count for name, count in before.items())

        wait_for(joined, seconds, f"registration of {', '.join(before)}")

    def stop(self, *participants: str) -> None:
        """End participants with all their processes, as a power cut would."""
        end_all(self._temporary, frozenset(participants))

    def registrations(self, site: str) -> int:
        """How often a site has registered so far, by its own log."""
        return sum(_REGISTERED in line for line in lines_of(self.kit(site) / "log.txt"))

    def processes(self, role: Role, participant: str | None = None) -> list[Found]:
        """Living processes of a role, of one participant or of all."""
        return [m for m in find(self._temporary) if m.role is role and participant in (None, m.participant)]

    def kill(self, role: Role, participant: str, seconds: float = 30) -> float:
        """``kill -9`` the one process of a role that a participant runs; its children are left to themselves.

        Returns:
            When (s since the epoch).
        """
        [victim] = wait_for(lambda: self.processes(role, participant), seconds, f"{role.name} of {participant}")
        return kill(victim.process)

    def console(self, user: str = ENGINEER) -> Console:
        """FLARE's console, as the engineer of the federation."""
        return Console(self.kit(user))

    def environment(self, participant: str) -> dict[str, str]:
        """What a participant's processes find in their environment."""
        temporary = self._temporary / participant
        temporary.mkdir(parents=True, exist_ok=True)
        path = [str(quick_sleep(self.root / "bin")), str(Path(sys.executable).parent), os.environ["PATH"]]
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(("RADFED_", "PYTEST_", "NVFLARE_"))}
        return inherited | {
            "PATH": os.pathsep.join(path),
            "PYTHONPATH": str(self.hooks.get(participant, "")),
            "OMP_NUM_THREADS": "1",
            "TMPDIR": str(temporary),
            **self.extra.get(participant, {}),
        }

    def _launch(self, participant: str) -> None:
        kit = self.kit(participant)
        shutil.rmtree(self._temporary / participant, ignore_errors=True)
        # Marks of a loop that was killed; its kit would think that it still runs.
        for mark in ("daemon_pid.fl", "pid.fl"):
            (kit / mark).unlink(missing_ok=True)
        console = self.root / "console" / f"{participant}.txt"
        console.parent.mkdir(exist_ok=True)
        with console.open("ab") as log:
            subprocess.run(
                [*self.prefix.get(participant, ()), str(kit / "startup" / "start.sh")],
                env=self.environment(participant),
                cwd=kit,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                check=True,
            )

    def run(self, program: str, *arguments: str) -> str:
        """Run a program of this environment, as a person at a shell would.

        Returns:
            What it printed on stdout.

        Raises:
            RuntimeError: it failed; the message holds what it printed.
        """
        command = [str(Path(sys.executable).parent / program), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, cwd=self.root, env=self.environment("console"))
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)}: exit {done.returncode}\n{done.stdout}\n{done.stderr}")
        return done.stdout
