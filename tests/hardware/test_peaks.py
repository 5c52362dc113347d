"""Peaks are measured once, kept with date and versions, and measured anew where the file is damaged."""

import json
import time
from dataclasses import replace

import pytest
import torch

from flatout.hardware import peaks as module
from flatout.hardware.peaks import measure, peaks_of


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("FLATOUT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def quick(monkeypatch):
    """Short measurements; gives the list of those that were made."""
    made = []

    def counted(device):
        made.append(device)
        return real(device)

    real = module.measure
    monkeypatch.setattr(module, "_SECONDS", 0.001)
    monkeypatch.setattr(module, "_SIDES", {"cpu": 64})
    monkeypatch.setattr(module, "_LARGE", 1 << 21)
    monkeypatch.setattr(module, "measure", counted)
    return made


def test_a_measurement_is_quick_and_within_reason():
    begun = time.perf_counter()
    threads = torch.get_num_threads()
    peaks = measure(torch.device("cpu"))
    assert time.perf_counter() - begun < 6  # two seconds on a machine with nothing else to do
    assert 1e8 < peaks.flops < 1e14
    assert 1e7 < peaks.bandwidth < 1e13
    assert peaks.threads == torch.get_num_threads() == threads


def test_it_is_measured_once_and_kept_with_date_and_versions(folder, quick):
    first = peaks_of("cpu")
    assert peaks_of("cpu") == first
    assert len(quick) == 1
    (kept,) = json.loads((folder / "peaks.json").read_text())["peaks"].values()
    assert kept["versions"].startswith(f"torch {torch.__version__}")
    assert len(kept["measured"]) == 10


@pytest.mark.parametrize(
    "damage", ["", "{", "[]", '{"x": 1}', "zero", "half", "old", "earlier", "other kind"]
)
def test_a_damaged_file_or_one_of_another_format_is_measured_anew(folder, quick, damage):
    peaks_of("cpu")
    path = folder / "peaks.json"
    whole = json.loads(path.read_text())
    ((key, kept),) = whole["peaks"].items()
    if damage == "zero":
        damage = json.dumps(whole | {"peaks": {key: kept | {"flops": 0}}})
    elif damage == "half":
        damage = json.dumps(whole | {"peaks": {key: {"flops": 1e9}}})
    elif damage == "old":
        damage = json.dumps({key: kept})
    elif damage == "earlier":
        damage = json.dumps(whole | {"format": 1})
    elif damage == "other kind":
        damage = json.dumps(whole | {"peaks": {key: 3}})
    path.write_text(damage)
    peaks_of("cpu")
    peaks_of("cpu")
    assert len(quick) == 2


def test_where_nothing_can_be_kept_it_still_answers(folder, quick):
    folder.write_text("a file where the folder should be")
    assert peaks_of("cpu").flops > 0


def test_small_work_has_the_bandwidth_of_the_caches(folder, quick):
    peaks = replace(peaks_of("cpu"), bandwidth=1.0, cache_bandwidth=2.0)
    assert (peaks.bandwidth_for(1000), peaks.bandwidth_for(1 << 30)) == (2.0, 1.0)


def test_products_in_reduced_precision_have_peaks_of_their_own(folder, quick):
    peaks_of("cpu")
    torch.set_float32_matmul_precision("high")
    try:
        peaks_of("cpu")
        peaks_of("cpu")
    finally:
        torch.set_float32_matmul_precision("highest")
    assert len(quick) == 2
