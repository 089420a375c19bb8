import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from radfed.site.doctor.machine import (
    GIB,
    MIB,
    Gpu,
    check_batch,
    check_disk,
    check_gpu,
    check_memory,
    check_promised_gpus,
    check_shared_memory,
    parse_gpus,
)
from radfed.site.doctor.measurement import Measurement

T4 = Gpu("Tesla T4", 15360 * MIB, 15000 * MIB)


def measured(peak: int, device: str = "cuda", free: int | None = None) -> Measurement:
    return Measurement(parameters=1, bytes=4, peak_memory_bytes=peak, device=device, gpu_memory_bytes=free)


def test_nvidia_smi_is_read() -> None:
    text = "Tesla T4, 15360, 15000\nNVIDIA A100, 40 GB, 40960, 1\nNo devices were found\n"
    assert parse_gpus(text) == (T4, Gpu("NVIDIA A100, 40 GB", 40960 * MIB, MIB))


def test_a_job_is_compared_with_the_memory_that_is_really_free() -> None:
    assert check_gpu("auto", (T4,), None).verdict == "pass"
    assert check_gpu("auto", (T4,), measured(10 * GIB, free=14 * GIB)).verdict == "pass"
    found = check_gpu("auto", (T4,), measured(14 * GIB, free=15000 * MIB))
    assert found.verdict == "fail"
    assert "needs 15769 MiB" in found.found


def test_a_gpu_that_torch_does_not_use_fails() -> None:
    assert check_gpu("auto", (T4,), measured(GIB, device="cpu")).verdict == "fail"


def test_no_gpu_fails_only_where_it_was_asked_for() -> None:
    assert check_gpu("cuda", (), None).verdict == "fail"
    assert check_gpu("auto", (), None).verdict == "warn"
    assert check_gpu("cpu", (), None).verdict == "pass"


def test_each_training_process_needs_a_gpu_of_its_own() -> None:
    assert check_gpu("auto", (T4, T4), None, processes=2).verdict == "pass"
    found = check_gpu("auto", (T4,), None, processes=2)
    assert found.verdict == "fail"
    assert "1 GPU(s) are found, but site.yaml trains with 2 processes" in found.found
    # On the CPU they share its cores.
    assert check_gpu("cpu", (), None, processes=2).verdict == "pass"


def test_a_card_sold_with_16_gb_has_no_16_gib(tmp_path: Path) -> None:
    (tmp_path / "local").mkdir()
    manager = {"id": "m", "path": "a.GPUResourceManager", "args": {"num_of_gpus": 1, "mem_per_gpu_in_GiB": 16}}
    file = tmp_path / "local" / "resources.json"
    file.write_text(json.dumps({"components": [manager]}))
    found = check_promised_gpus(tmp_path, (T4,))
    assert found is not None
    assert found.verdict == "fail"
    assert "16384 MiB" in found.found
    assert "15360 MiB" in found.found
    file.write_text(file.read_text().replace("16}", "15}"))
    found = check_promised_gpus(tmp_path, (T4,))
    assert found is not None
    assert found.verdict == "pass"
    file.write_text(file.read_text().replace('"num_of_gpus": 1', '"num_of_gpus": 0'))
    assert check_promised_gpus(tmp_path, (T4,)) is None


def test_memory_is_compared_with_what_the_job_took() -> None:
    assert check_memory(measured(GIB, device="cpu"), available=2 * GIB).verdict == "pass"
    assert check_memory(measured(2 * GIB, device="cpu"), available=2 * GIB).verdict == "fail"
    assert check_memory(measured(1, device="cpu")).verdict == "pass"


def test_the_batch_of_a_job_is_compared_with_the_largest_that_was_found() -> None:
    assert check_batch(None, 8) is None
    enough, few = check_batch(8, 8), check_batch(4, 8)
    assert enough is not None
    assert few is not None
    assert (enough.verdict, few.verdict) == ("pass", "fail")
    assert "batch_size: 4" in few.fix


@pytest.mark.parametrize(("free", "verdict"), [(1, "fail"), (5 * GIB, "warn"), (50 * GIB, "pass")])
def test_disk(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, free: int, verdict: str) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _folder: SimpleNamespace(free=free))
    assert check_disk("disk-kit", tmp_path).verdict == verdict


@pytest.mark.parametrize(("free", "verdict"), [(60 * MIB, "warn"), (2 * GIB, "pass")])
def test_shared_memory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, free: int, verdict: str) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _folder: SimpleNamespace(total=64 * MIB, free=free))
    assert check_shared_memory(tmp_path).verdict == verdict
    assert check_shared_memory(tmp_path / "missing").verdict == "warn"
