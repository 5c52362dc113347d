"""Devices that are here, and moving nests: structure, identity, sharing."""

from __future__ import annotations

import copy
import dataclasses
from collections import OrderedDict, defaultdict, namedtuple
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from flatout.errors import DeviceNotFoundError
from flatout.hardware import find_device, to_device, try_all_gpus, try_gpu
from flatout.hardware.placement import same_device

CPU, META = torch.device("cpu"), torch.device("meta")
Pair = namedtuple("Pair", "x y")
needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
without_accelerator = pytest.mark.skipif(
    torch.accelerator.is_available(), reason="tells of a machine without"
)


@dataclasses.dataclass(frozen=True)
class Frozen:
    x: torch.Tensor
    name: str = "frozen"
    twice: torch.Tensor = dataclasses.field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "twice", self.x * 2)


@dataclasses.dataclass(slots=True)
class Slotted:
    x: torch.Tensor


class TaggedDict(dict):  # type: ignore[type-arg]
    tag = "none"


class Movable:
    def __init__(self, device: torch.device = CPU) -> None:
        self.device = device

    def to(self, device: torch.device) -> Movable:
        return self if device == self.device else Movable(device)


# --- finding devices


@without_accelerator
def test_without_a_gpu_the_cpu_is_used():
    assert try_gpu() == CPU
    assert try_all_gpus() == [CPU]
    assert find_device(None) == CPU


@pytest.mark.parametrize("wrong", [-1, 1.5, "0", None, True])
def test_try_gpu_refuses_what_does_not_count(wrong: Any):
    with pytest.raises(DeviceNotFoundError, match="counted from 0"):
        try_gpu(wrong)


def test_try_gpu_far_away_is_the_cpu():
    assert try_gpu(np.int64(10_000)) == CPU


@pytest.mark.parametrize("spec", ["cpu", "cpu:0", " CPU ", torch.device("cpu"), torch.device("cpu", 0)])
def test_cpu_has_many_names(spec: Any):
    assert find_device(spec) == CPU


@pytest.mark.parametrize("spec", ["banana", "", "cuda:x", "gpu:-1", "gpu:", 3, 1.5, object()])
def test_what_names_no_device_is_told_the_forms(spec: Any):
    with pytest.raises(DeviceNotFoundError, match=r'a device is "cpu", .* but got .*this machine has'):
        find_device(spec)


@without_accelerator
@pytest.mark.parametrize("spec", ["cuda", "cuda:3", "gpu", "gpu:1", "mps", "xpu", "vulkan", "cpu:1"])
def test_a_device_that_is_not_here(spec: str):
    with pytest.raises(DeviceNotFoundError, match=f"there is no {spec} here: this machine has only cpu"):
        find_device(spec)


@pytest.mark.skipif(torch.version.cuda is not None or torch.version.hip is not None, reason="a GPU build")
def test_a_cpu_build_of_torch_is_named():
    with pytest.raises(DeviceNotFoundError, match=r"torch\.version\.cuda is None: .* built without CUDA"):
        find_device("cuda:0")


def test_two_gpus(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: True)
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda: torch.device("cuda"))
    monkeypatch.setattr(torch.accelerator, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 1)
    assert try_all_gpus() == [torch.device("cuda", 0), torch.device("cuda", 1)]
    assert try_gpu(1) == torch.device("cuda", 1)
    assert try_gpu(2) == CPU
    assert find_device("gpu") == torch.device("cuda", 0)
    assert find_device("cuda") == torch.device("cuda", 1)
    with pytest.raises(DeviceNotFoundError, match="no cuda:3 here: this machine has cpu, cuda:0 and cuda:1"):
        find_device("cuda:3")


# --- moving


def test_leaves_that_are_no_tensors_stay():
    array = np.ones(2)
    nest = ["text", 3, None, array, {1, 2}, SimpleNamespace(x=1), torch.float32, torch.Tensor]
    assert to_device(nest, "meta") is nest


@pytest.mark.parametrize("kind", [list, tuple, lambda items: Pair(*items), lambda items: {"a": items[0]}])
def test_nothing_moved_is_the_same_object(kind: Any):
    nest = kind([torch.ones(2), "text"])
    assert to_device(nest, "cpu") is nest
    assert to_device(nest, torch.device("cpu", 0)) is nest


def test_types_are_kept_and_inputs_not_mutated():
    x = torch.ones(2)
    tagged = TaggedDict(x=x)
    tagged.tag = "mine"
    nest = {
        "ordered": OrderedDict(b=x, a=1),
        "default": defaultdict(list, x=x),
        "tagged": tagged,
        "pair": Pair(x, 2),
        "max": torch.ones(2, 2).max(0),
        "slotted": Slotted(x),
        "same": [1, 2],
    }
    before = copy.copy(nest)
    moved = to_device(nest, "meta")
    assert nest == before and x.device == CPU
    assert type(moved["ordered"]) is OrderedDict and list(moved["ordered"]) == ["b", "a"]
    assert moved["default"].default_factory is list
    assert type(moved["tagged"]) is TaggedDict and moved["tagged"].tag == "mine"
    assert type(moved["pair"]) is Pair and moved["pair"].x.device == META
    assert type(moved["max"]) is torch.return_types.max and moved["max"].indices.device == META
    assert moved["slotted"].x is moved["pair"].x
    assert moved["same"] is nest["same"]


def test_a_frozen_dataclass_with_a_field_outside_of_init():
    moved = to_device(Frozen(torch.ones(2)), "meta")
    assert type(moved) is Frozen and moved.name == "frozen"
    assert moved.x.device == META and moved.twice.device == META


def test_objects_that_move_themselves():
    model = nn.Linear(2, 1)
    movable = Movable()
    packed = nn.utils.rnn.pack_sequence([torch.ones(2, 1), torch.ones(1, 1)])
    nest = [model, movable, packed]
    assert to_device(nest, "cpu") is nest
    moved = to_device(nest, "meta")
    assert moved[0] is model and model.weight.device == META
    assert moved[1].device == META and movable.device == CPU
    assert type(moved[2]) is type(packed) and moved[2].data.device == META


def test_a_tensor_that_occurs_twice_comes_out_once():
    x = torch.ones(3)
    moved = to_device({"a": x, "b": [x]}, "meta")
    assert moved["a"] is moved["b"][0]


def test_views_of_one_storage_stay_views_of_one_storage():
    base = torch.arange(20.0).reshape(4, 5)
    views = [base[1:, :3], base[1:, 3], base.T[1:], base.view(torch.int32)[2:]]
    moved = to_device(views, "meta")
    assert len({view.untyped_storage()._cdata for view in moved}) == 1
    first = views[2].storage_offset()
    for old, new in zip(views, moved, strict=True):
        assert (new.shape, new.stride(), new.dtype) == (old.shape, old.stride(), old.dtype)
        assert new.storage_offset() - moved[2].storage_offset() == old.storage_offset() - first
    assert moved[0].untyped_storage().nbytes() <= base.untyped_storage().nbytes()


def test_a_lone_view_moves_alone():
    assert to_device(torch.zeros(1_000_000)[5:8], "meta").untyped_storage().nbytes() == 12


def test_views_far_apart_do_not_drag_along_what_lies_between():
    base = torch.zeros(1_000_000)
    near, also_near, far = to_device([base[:2], base[1:4], base[-2:]], "meta")
    assert near.untyped_storage()._cdata == also_near.untyped_storage()._cdata
    assert near.untyped_storage().nbytes() == 16
    assert far.untyped_storage().nbytes() == 8


def test_special_tensors_move_by_to():
    base = torch.ones(4, requires_grad=True)
    parameter = nn.Parameter(torch.ones(2))
    sparse = torch.eye(3).to_sparse()
    empty = torch.ones(0)
    conjugate = torch.ones(2, dtype=torch.complex64).conj()
    nest = [base, base[:2], parameter, sparse, empty, empty[:0], conjugate, conjugate[:1]]
    moved = to_device(nest, "meta")
    assert all(new.device == META for new in moved)
    assert moved[0].requires_grad and moved[1].grad_fn is not None
    assert moved[3].layout == torch.sparse_coo


def test_cycles_end():
    inner: list[Any] = [torch.ones(2)]
    ring: dict[str, Any] = {"inner": inner, "pair": (inner, 1)}
    inner.append(ring)
    inner.append(ring["pair"])
    moved = to_device(ring, "meta")
    assert moved["inner"][0].device == META
    assert moved["inner"][1] is moved
    assert moved["pair"][0] is moved["inner"]
    assert moved["inner"][2] is moved["pair"]
    assert ring["inner"] is inner and inner[0].device == CPU
    assert to_device(ring, "cpu") is ring


def test_a_device_that_is_not_here_is_refused():
    with pytest.raises(DeviceNotFoundError):
        to_device(torch.ones(1), "banana")


def test_same_device():
    assert same_device(torch.device("cpu", 0), CPU)
    assert not same_device(torch.device("cuda", 0), torch.device("cuda", 1))


BASE = torch.arange(12.0)
POOL = [
    torch.ones(2),
    torch.ones(3, 2),
    BASE[:5],
    BASE[3:9],
    BASE.view(3, 4)[:, 1],
    torch.ones(2, device="meta"),
]
LEAVES = st.sampled_from(POOL) | st.integers() | st.text(max_size=2) | st.none()


def _containers(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.dictionaries(st.text(max_size=2), inner, max_size=4)
        | st.tuples(inner, inner).map(lambda pair: Pair(*pair))
        | inner.map(Slotted)
    )


NESTS = st.recursive(LEAVES, _containers, max_leaves=12)


def _parts(item: Any) -> list[Any]:
    if isinstance(item, dict):
        return [*item.values()]
    if isinstance(item, Slotted):
        return [item.x]
    return list(item) if isinstance(item, (list, tuple)) else []


def _compare(old: Any, new: Any, met: list[tuple[torch.Tensor, torch.Tensor]]) -> None:
    assert type(old) is type(new)
    if isinstance(old, torch.Tensor):
        assert new.device == META and (old.shape, old.dtype) == (new.shape, new.dtype)
        met.append((old, new))
    elif not _parts(old):
        assert old is new
    if isinstance(old, dict):
        assert list(old) == list(new)
    for a, b in zip(_parts(old), _parts(new), strict=True):
        _compare(a, b, met)
    if all(a is b for a, b in zip(_parts(old), _parts(new), strict=True)) and not isinstance(
        old, torch.Tensor
    ):
        assert old is new


@given(NESTS)
def test_any_nest_keeps_structure_identity_and_sharing(nest: Any):
    moved = to_device(nest, "meta")
    met: list[tuple[torch.Tensor, torch.Tensor]] = []
    _compare(nest, moved, met)
    for old, new in met:
        for other_old, other_new in met:
            assert (old is other_old) == (new is other_new)
            shared = old.untyped_storage()._cdata == other_old.untyped_storage()._cdata
            assert shared == (new.untyped_storage()._cdata == other_new.untyped_storage()._cdata)
    assert to_device(moved, "meta") is moved


# --- with a GPU


@pytest.mark.gpu
@needs_cuda
def test_cuda_without_an_index_is_the_current_one():
    x = torch.ones(2, device="cuda")
    assert to_device(x, torch.device("cuda")) is x
    assert find_device("cuda") == torch.device("cuda", torch.cuda.current_device())


@pytest.mark.gpu
@needs_cuda
@pytest.mark.parametrize("pinned", [False, True])
def test_views_share_memory_and_keep_their_values_on_the_gpu(pinned: bool):
    base = torch.arange(20.0)
    base = base.pin_memory() if pinned else base
    views = [base[3:9], base.view(4, 5)[:, 1], base.view(torch.int32)[2:4]]
    moved = to_device(views, "cuda")
    torch.cuda.synchronize()
    for old, new in zip(views, moved, strict=True):
        assert torch.equal(old, new.cpu())
    moved[0].zero_()
    assert moved[1][1].item() == 0  # element 6 of the base
    assert base[6] == 6


@pytest.mark.gpu
@needs_cuda
def test_pinned_memory_is_copied_without_waiting(monkeypatch: pytest.MonkeyPatch):
    seen = []
    plain = torch.Tensor.to
    monkeypatch.setattr(torch.Tensor, "to", lambda self, *a, **k: seen.append(k) or plain(self, *a, **k))
    to_device([torch.ones(2).pin_memory(), torch.ones(3)], "cuda")
    assert sorted(k["non_blocking"] for k in seen) == [False, True]
