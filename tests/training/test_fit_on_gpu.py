"""Training on a CUDA GPU."""

import pytest
import torch
from cases import CASES, Noisy, base, mlp, pairs
from hand_written import assert_same_run, assert_same_weights, hand_written
from torch import nn
from torch.utils import _pytree as pytree
from torch.utils.data import DataLoader, Dataset

from flatout import Task, TrainingInterrupted, fit
from flatout.data.load import load_data
from flatout.data.streaming import StreamingData
from flatout.plans.eager import EagerPlan

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU here"),
]
NAMES = [
    "full batch",
    "batches",
    "batch norm",
    "momentum",
    "adam",
    "clip",
    "one cycle",
    "two inputs",
    "lbfgs",
]


def on_gpu(case):
    """The same training with everything on the GPU from the start, for the hand-written loop."""
    case["model"].cuda()
    data = pytree.tree_map(lambda tensor: tensor.cuda(), case["data"])
    return case | {"data": data}


@pytest.mark.parametrize("name", NAMES)
def test_fit_is_the_hand_written_loop(name):
    by_hand, case = on_gpu(CASES[name]()), CASES[name]()
    expected = hand_written(**by_hand)
    run = fit(**case, device="cuda")
    assert run.device == "cuda:0"
    assert torch.equal(run.losses, expected.cpu())
    assert_same_weights(case["model"], by_hand["model"])


@pytest.mark.parametrize("name", ["dropout", "adam", "lbfgs", "stream", "own loader", "early"])
def test_stopped_and_resumed_is_never_stopped(name, tmp_path, stop_at, single_steps):
    def make():
        if name == "early":
            model = mlp(nn.Dropout(0.5))
            return base(model, validation=pairs(9, 1), validate_every=1, patience=2, monitor="loss")
        return CASES[name]()

    whole = make()
    expected = fit(**whole, device="cuda")
    with pytest.raises(TrainingInterrupted) as caught:
        fit(**make(), device="cuda", run_dir=tmp_path, progress=stop_at(7))
    case = make()
    assert_same_run(fit(**case, device="cuda", resume=caught.value.run.directory), expected)
    assert_same_weights(case["model"], whole["model"])


class Large(Dataset):
    """Samples large enough for a copy to take a while."""

    def __len__(self):
        return 64

    def __getitem__(self, i):
        return torch.full((1 << 18,), float(i)), i


@pytest.mark.parametrize("pinned", [True, False])
def test_streamed_batches_are_the_right_ones_while_copies_run_beside(pinned):
    loader = DataLoader(Large(), batch_size=8, pin_memory=pinned)
    data = StreamingData(loader, torch.device("cuda"))
    busy = torch.randn(2048, 2048, device="cuda")
    sums, targets = [], []
    for _ in range(3):
        for x, y in data.batches(data.take(8)):
            for _ in range(5):
                busy = torch.tanh(busy @ busy)
            sums.append(x.double().mean(1) + 0 * busy.sum())
            targets.append(y)
            del x
    assert torch.equal(torch.cat(sums).nan_to_num(-1), torch.cat(targets).double())


def test_a_dataset_is_pinned_and_gives_the_losses_of_the_hand_written_loop():
    case = base(data=Noisy(scale=0.0))
    assert load_data(Task(**case), torch.device("cuda")).loader.pin_memory
    by_hand = on_gpu(base())
    expected = hand_written(**by_hand)
    assert torch.equal(fit(**case, device="cuda").losses, expected.cpu())


@pytest.mark.parametrize("name", ["batches", "full batch", "adam", "clip", "momentum"])
def test_a_chunk_never_waits_for_the_gpu(name):
    task = Task(**CASES[name]()).copied_to("cuda")
    data = load_data(task, torch.device("cuda"))
    loop = EagerPlan().prepare(task, data)
    loop.advance(data.take(4))
    torch.cuda.set_sync_debug_mode("error")
    try:
        losses = loop.advance(data.take(4))
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert losses.is_cuda


@pytest.mark.parametrize("name", ["adam", "momentum", "lbfgs", "one cycle"])
def test_a_copy_on_the_gpu_is_tied_together(name):
    task = Task(**CASES[name]())
    fit(task)
    twin = task.copied_to("cuda")
    assert [id(p) for p in twin.model.parameters()] == [
        id(p) for p in twin.optimizer.param_groups[0]["params"]
    ]
    for state in twin.optimizer.state.values():
        for key, value in state.items():
            tensors = [leaf for leaf in pytree.tree_leaves(value) if isinstance(leaf, torch.Tensor)]
            assert all(tensor.is_cuda for tensor in tensors) or key == "step"
    if name != "one cycle":
        assert fit(twin).device == "cuda:0"
    assert not any(parameter.is_cuda for parameter in task.model.parameters())


def test_a_run_can_move_from_gpu_to_cpu(tmp_path, stop_at, single_steps):
    with pytest.raises(TrainingInterrupted) as caught:
        fit(**CASES["adam"](), device="cuda", run_dir=tmp_path, progress=stop_at(7))
    run = fit(**CASES["adam"](), device="cpu", resume=caught.value.run.directory)
    assert torch.allclose(run.losses, fit(**CASES["adam"]()).losses, atol=1e-4)
