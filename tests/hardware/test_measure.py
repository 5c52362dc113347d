"""What is measured of a device is kept with its spread, and the floor of steps uses it."""

import json

import pytest
import torch

from flatout.hardware import measure, peaks
from flatout.hardware.measure import Measured, kept_measurement, measure_all
from flatout.hardware.repeat import Spread, repeated, spread_of

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def quick(tmp_path, monkeypatch):
    """Short measurements in a cache of their own."""
    monkeypatch.setenv("FLATOUT_CACHE", str(tmp_path))
    monkeypatch.setattr(measure, "_SECONDS", 0.002)
    monkeypatch.setattr(measure, "_LARGEST_SIDE", 256)
    monkeypatch.setattr(measure, "_COPIED", 1 << 21)
    return tmp_path / "peaks.json"


def spreads(found):
    return [*found.products.values(), found.copy, found.cache_copy, found.launch, found.sync]


def test_a_cpu_has_products_copies_launch_and_sync_each_with_its_spread():
    threads = torch.get_num_threads()
    said = []
    found = measure_all("cpu", on_step=said.append)
    assert set(found.products) == {"float32", "bfloat16", "float16", "float64"}  # TF32 is CUDA's
    for spread in spreads(found):
        assert 0 < spread.low <= spread.median <= spread.high
        assert spread.runs >= 3
    assert found.products["float32"].best >= found.products["float32"].median  # a rate
    assert found.launch.best <= found.launch.median  # a time
    assert found.to_device_pinned is None  # a CPU has no other memory
    assert len(found.measured) == 10 and torch.__version__ in found.versions
    assert "matrix products in float32" in said
    assert torch.get_num_threads() == threads == found.threads
    assert torch.get_float32_matmul_precision() == "highest"


def test_it_leaves_the_precision_of_products_as_it_was():
    """Also where a program has set it in the newer way, of which the older one complains."""
    products = torch.backends.mkldnn.matmul
    before = products.fp32_precision
    products.fp32_precision = "bf16"
    try:
        found = measure_all("cpu")
        assert found.products["float32"].median > 0
        assert products.fp32_precision == "bf16"
        assert peaks.kept_peaks("cpu") is None  # these would be others
    finally:
        products.fp32_precision = before


def test_it_is_kept_and_found_again(quick):
    found = measure_all("cpu")
    assert kept_measurement("cpu") == found
    document = json.loads(quick.read_text())
    ((key, kept),) = document["measured"].items()
    for damaged in ({}, kept | {"launch": {"median": 1}}, kept | {"products": 3}, kept | {"more": 1}, 7):
        quick.write_text(json.dumps(document | {"measured": {key: damaged}}))
        assert kept_measurement("cpu") is None


def test_the_floor_uses_the_best_that_was_measured(monkeypatch):
    found = measure_all("cpu")
    monkeypatch.setattr(peaks, "measure", lambda device: pytest.fail("measured again"))
    used = peaks.peaks_of("cpu")
    assert used.flops == found.products["float32"].best
    assert used.bandwidth == found.copy.best
    assert used.cache_bandwidth == max(found.copy.best, found.cache_copy.best)
    assert used.measured == found.measured


def test_what_a_device_cannot_do_is_unknown_and_the_rest_is_measured(monkeypatch):
    """A dtype that has no kernels, a memory that is full."""
    real = torch.mm

    def mm(a, b, *, out):
        if a.dtype is torch.float16:
            raise NotImplementedError("\"addmm_impl\" not implemented for 'Half'")
        return real(a, b, out=out)

    monkeypatch.setattr(torch, "mm", mm)
    monkeypatch.setattr(measure, "_copy", lambda *_: (_ for _ in ()).throw(torch.OutOfMemoryError("full")))
    found = measure_all("cpu")
    assert set(found.products) == {"float32", "bfloat16", "float64"}
    assert found.copy is None and found.launch is not None
    assert peaks.kept_peaks("cpu") is None  # half of the peaks are none


def test_when_the_time_is_over_the_rest_is_unknown():
    found = measure_all("cpu", seconds=0.0)
    assert (found.products, found.copy, found.sync) == ({}, None, None)


def test_a_spread_is_median_quartiles_and_best():
    assert spread_of([5.0, 1.0, 2.0, 3.0, 4.0]) == Spread(3.0, 2.0, 4.0, 1.0, 5)
    assert spread_of([2.0]) == Spread(2.0, 2.0, 2.0, 2.0, 1)
    assert spread_of([1.0, 2.0, 4.0]).rate(4.0) == Spread(2.0, 4 / 3, 4 / 1.5, 4.0, 3)


def test_the_first_run_does_not_count():
    runs = []
    times = repeated(lambda: runs.append(None), CPU, 0.0)
    assert (len(times), len(runs)) == (3, 4)


def test_a_document_becomes_the_measurement_again():
    spread = Spread(1.0, 0.5, 2.0, 3.0, 4)
    found = Measured("cuda:0", "a card", {"tf32": spread}, launch=spread, took=3.5)
    assert Measured.from_dict(json.loads(json.dumps(found.to_dict()))) == found


def test_a_transfer_is_measured_by_the_bytes_that_cross(monkeypatch):
    monkeypatch.setattr(measure, "_TRANSFERRED", 1 << 20)
    for to_device in (True, False):
        spread = measure._transfer(CPU, pinned=False, to_device=to_device)
        assert 1e8 < spread.median < 1e13


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA GPU")
def test_a_gpu_has_transfers_too_and_is_within_its_paper_figures(monkeypatch):
    from flatout.hardware.installed import installed_gpus

    monkeypatch.undo()  # at full length
    found = measure_all("cuda:0")
    assert found.took < 20
    gpu = next(gpu for gpu in installed_gpus() if gpu.device == "cuda:0")
    for dtype, rate in gpu.rates.items():
        if dtype in found.products:
            assert found.products[dtype].median < 1.1 * rate, dtype
    assert found.copy.median < 1.1 * gpu.bandwidth
    assert found.to_device_pinned.median > 0.5 * found.to_device_pageable.median
    assert 1e-7 < found.launch.median < 1e-3 and found.launch.median < 10 * found.sync.median
