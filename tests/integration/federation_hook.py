"""Copied as ``sitecustomize.py`` to a folder on a participant's PYTHONPATH: what a test does inside its processes.

``hook.json`` beside it names what is wanted. Product code knows nothing of it: functions are wrapped when their
modules are imported, and the code that runs between is the real one. This file imports nothing but the standard
library before it must, for every Python process of the participant starts with it.

* ``holds``: functions that can be told to wait. ``<label>.armed`` beside this file holds a number of calls to let
  pass; the call after them renames the file to ``<label>.held`` and waits until ``<label>.go`` appears.
* ``skips``: functions that do nothing and return an empty text.
* ``frames``: a folder that gets every frame that this participant sends to another machine, before TLS.
* ``update``: what becomes of the site's outgoing weights: ``nan``, ``shape`` or ``scale``.
* ``hostname``: what ``socket.gethostname`` answers.
"""

import functools
import importlib.abc
import importlib.machinery
import importlib.util
import json
import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

HOLD_SECONDS = 40.0
"""How long a held call waits at most; no test takes so long to kill."""


def hold(folder: Path, label: str, original: Callable[..., Any]) -> Callable[..., Any]:
    """Let a function wait before it does its work, once, when the test asks for it."""
    lock = threading.Lock()

    @functools.wraps(original)
    def held(*args: object, **kwargs: object) -> Any:  # noqa: ANN401 - whatever the original returns
        armed = folder / f"{label}.armed"
        with lock:
            mine = _is_my_turn(armed, folder / f"{label}.held")
        end = time.monotonic() + HOLD_SECONDS
        while mine and not (folder / f"{label}.go").exists() and time.monotonic() < end:
            time.sleep(0.02)
        return original(*args, **kwargs)

    return held


def _is_my_turn(armed: Path, marker: Path) -> bool:
    """Count this call down; True for the one that is to wait."""
    try:
        left = int(armed.read_text())
    except FileNotFoundError:
        return False
    if left > 0:
        _write(armed, str(left - 1))
        return False
    _write(marker, str(os.getpid()))
    armed.unlink(missing_ok=True)
    return True


def _write(path: Path, text: str) -> None:
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    beside.write_text(text)
    os.replace(beside, path)


def record_frames(folder: Path, module: ModuleType) -> None:
    """Write each frame that goes out over a TLS connection to a file of this process, length first."""
    original = module.SfmConnection.__init__
    folder.mkdir(parents=True, exist_ok=True)
    lock = threading.Lock()

    @functools.wraps(original)
    def __init__(self: Any, conn: Any, *args: object, **kwargs: object) -> None:  # noqa: ANN401, N807 - FLARE's
        original(self, conn, *args, **kwargs)
        scheme = conn.connector.params.get("scheme", "unknown")
        send = conn.send_frame

        def send_frame(frame: Any) -> Any:  # noqa: ANN401 - bytes of some kind
            # Parent and job of one site talk over tcp on the loopback interface; all else leaves the machine.
            if scheme != "tcp":
                with lock, (folder / f"{os.getpid()}-{scheme}.frames").open("ab") as file:
                    file.write(len(frame).to_bytes(8, "big") + bytes(frame))
            return send(frame)

        conn.send_frame = send_frame

    module.SfmConnection.__init__ = __init__


def spoil(how: str, params: dict[str, Any]) -> dict[str, Any]:
    """A site's weights, made bad.

    Args:
        how: ``nan``, ``shape`` or ``scale``; the last multiplies by 1000.
        params: NumPy arrays by name.
    """
    import numpy as np

    first = next(name for name in sorted(params) if np.issubdtype(params[name].dtype, np.floating))
    if how == "nan":
        bad = params[first].copy()
        bad.flat[0] = np.nan
        return params | {first: bad}
    if how == "shape":
        return params | {first: np.zeros((*params[first].shape, 2), params[first].dtype)}
    return {
        name: array * np.asarray(1000, array.dtype) if np.issubdtype(array.dtype, np.floating) else array
        for name, array in params.items()
    }


def spoil_updates(how: str, module: ModuleType) -> None:
    """Wrap FLARE's way from a model to a message, which every update of the executor goes."""
    original = module.FLModelUtils.to_shareable

    def to_shareable(model: Any) -> Any:  # noqa: ANN401 - FLARE's types
        if model.params:
            model.params = spoil(how, dict(model.params))
        return original(model)

    module.FLModelUtils.to_shareable = staticmethod(to_shareable)


class Patcher(importlib.abc.MetaPathFinder):
    """Runs what is registered for a module right after its body, before anybody sees the module."""

    def __init__(self) -> None:
        self.actions: dict[str, list[Callable[[ModuleType], None]]] = {}

    def add(self, module: str, action: Callable[[ModuleType], None]) -> None:
        """Register an action; one for a module that is already there is an error."""
        if module in sys.modules:
            raise RuntimeError(f"{module} is already imported; it can no longer be wrapped")
        self.actions.setdefault(module, []).append(action)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Find the module as Python would, and hang the actions on its loader."""
        if fullname not in self.actions:
            return None
        actions = self.actions.pop(fullname)
        spec = importlib.util.find_spec(fullname)
        if spec is None or spec.loader is None:
            return spec
        execute = spec.loader.exec_module

        def exec_module(module: ModuleType) -> None:
            execute(module)
            for action in actions:
                action(module)

        spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


def replace_attribute(place: str, change: Callable[[Callable[..., Any]], Callable[..., Any]]) -> Callable[..., None]:
    """An action that replaces ``Class.method`` or ``function`` in a module."""

    def action(module: ModuleType) -> None:
        *owners, name = place.split(".")
        owner: Any = module
        for part in owners:
            owner = getattr(owner, part)
        setattr(owner, name, change(getattr(owner, name)))

    return action


def install(folder: Path) -> None:
    """Do what ``hook.json`` asks for in this process."""
    wanted = json.loads((folder / "hook.json").read_text())
    patcher = Patcher()
    for label, place in wanted.get("holds", {}).items():
        module, _, function = place.partition(":")
        patcher.add(module, replace_attribute(function, functools.partial(hold, folder, label)))
    for place in wanted.get("skips", ()):
        module, _, function = place.partition(":")
        patcher.add(module, replace_attribute(function, lambda _original: lambda *_args, **_kwargs: ""))
    if "frames" in wanted:
        patcher.add("nvflare.fuel.f3.sfm.sfm_conn", functools.partial(record_frames, Path(wanted["frames"])))
    if "update" in wanted:
        patcher.add("nvflare.app_common.utils.fl_model_utils", functools.partial(spoil_updates, wanted["update"]))
    if "hostname" in wanted:
        socket.gethostname = lambda: wanted["hostname"]
    sys.meta_path.insert(0, patcher)


if __name__ == "sitecustomize":
    install(Path(__file__).parent)
