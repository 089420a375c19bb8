"""A small review: a release without weights, four cases, and people."""

import json
import shutil
import time
import warnings
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import onnx
from anyio.from_thread import BlockingPortal
from onnx import TensorProto, helper, numpy_helper

from radfed.dataset.digests import volume_digest
from radfed.dataset.layout import Dataset
from radfed.inference.checksums import file_digest
from radfed.task import SegmentationTask
from radfed.validation.workbench.app import make_app
from radfed.validation.workbench.bench import Bench
from radfed.validation.workbench.guard import Guard, place_of
from radfed.validation.workbench.opening import Choice, open_bench

with warnings.catch_warnings():
    # Starlette wants a successor of httpx here that is hardly out.
    warnings.simplefilter("ignore")
    from fastapi.testclient import TestClient

BASE = "http://127.0.0.1:8765"
PASSWORD = "correct horse battery"
PEOPLE = {"lea": "lead", "ben": "reader", "cleo": "reader", "aud": "auditor"}


def write_release(root: Path, task: SegmentationTask) -> None:
    """A network without weights: each voxel is the class whose intensity it is nearest to."""
    root.mkdir()
    levels = numpy_helper.from_array(np.array([0, 0.5, 1], dtype=np.float32).reshape(1, 3, 1, 1, 1), "levels")
    nodes = [
        helper.make_node("Sub", ["image", "levels"], ["difference"]),
        helper.make_node("Abs", ["difference"], ["distance"]),
        helper.make_node("Neg", ["distance"], ["logits"]),
    ]
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 1, "h", "w", "d"])
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 3, "h", "w", "d"])
    graph = helper.make_graph(nodes, "nearest", [image], [logits], [levels])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    metadata = {
        "radfed.task": json.dumps(task.model_dump(mode="json")),
        "radfed.task_digest": task.digest,
        "radfed.version": "0.0.0",
        "radfed.fixed_roi": "false",
        "radfed.weights_digest": "0" * 64,
    }
    helper.set_model_props(model, metadata)
    onnx.save(model, root / "model.onnx")
    list_model(root)


def list_model(root: Path) -> None:
    (root / "SHA256SUMS").write_text(f"{file_digest(root / 'model.onnx')}  model.onnx\n")


def copy_dataset(dataset: Dataset, root: Path) -> None:
    """Copy a made-up dataset, and list the digests that its files really have."""
    shutil.copytree(dataset.root, root)
    rows = []
    for case in dataset.cases:
        found = {
            "digest": volume_digest(dataset.image(case)),
            "label_digest": volume_digest(dataset.label(case)),
        }
        rows.append(case.model_copy(update=found).model_dump_json() + "\n")
    (root / "cases.jsonl").write_text("".join(rows), encoding="utf-8")


@dataclass
class World:
    """A review on disk, and who uses it.

    Attributes:
        root: holds ``release``, ``dataset`` and ``state``.
        blinded: how it was begun.
        ahead: seconds that the server's clock runs ahead.
        portal: where all clients run; one a client and request would take most of the tests' time.
    """

    portal: ClassVar[BlockingPortal | None] = None
    root: Path
    blinded: bool
    ahead: float = 0.0
    clients: dict[str, TestClient] = field(default_factory=dict)
    _bench: Bench | None = None
    _app: Guard | None = None

    @property
    def state(self) -> Path:
        return self.root / "state"

    @property
    def bench(self) -> Bench:
        if self._bench is None:
            self._bench = self.open()
        return self._bench

    def open(self, **changes: object) -> Bench:
        choice = Choice(**{"blinded": self.blinded, "seed": 5, **changes})  # type: ignore[arg-type]
        return open_bench(self.root / "release", self.root / "dataset", self.state, choice)

    def use(self, bench: Bench) -> None:
        """Serve a review that was opened with other options."""
        self.restart()
        self._bench = bench

    def restart(self) -> None:
        self._bench = self._app = None
        self.clients.clear()

    def stranger(self) -> TestClient:
        if self._app is None:
            served = replace(self.bench, clock=lambda: time.time() + self.ahead)
            self._app = make_app(served, place_of("127.0.0.1", 8765, None))
        client = TestClient(self._app, base_url=BASE)
        client.portal = self.portal
        return client

    def client(self, user: str) -> TestClient:
        """Somebody who has logged in."""
        if user not in self.clients:
            client = self.stranger()
            answer = client.post("/api/login", json={"user": user, "password": PASSWORD})
            assert answer.status_code == 200, answer.text
            client.headers["X-CSRF-Token"] = answer.json()["csrf"]
            self.clients[user] = client
        return self.clients[user]

    def cases(self, user: str = "ben") -> list[str]:
        return [case["id"] for case in self.client(user).get("/api/cases").json()]

    def review(self, user: str, case: str, verdict: str = "accept", **changes: object) -> int:
        client = self.client(user)
        subjects = client.get(f"/api/cases/{case}").json()["subjects"]
        body = {"verdicts": dict.fromkeys(subjects, verdict), "comment": "", "seconds": 4.5, **changes}
        return int(client.post(f"/api/cases/{case}/review", json=body).status_code)

    def review_all(self) -> None:
        for user in ("ben", "cleo"):
            for case in self.cases():
                assert self.review(user, case) == 201

    def sign(self, password: str = PASSWORD) -> tuple[int, str]:
        answer = self.client("lea").post("/api/signoff", json={"statement": "Reviewed.", "password": password})
        return answer.status_code, answer.text

    def copy_to(self, root: Path) -> "World":
        shutil.copytree(self.root, root)
        return World(root, self.blinded)
