"""The loop a person would write by hand: the reference that `fit` has to match bit for bit."""

from functools import partial

import torch
from torch import nn
from torch.optim.lr_scheduler import ReduceLROnPlateau
from torch.utils.data import DataLoader, Dataset, TensorDataset


class Rows(Dataset):
    """Any nest of tensors, row by row."""

    def __init__(self, nest):
        self.nest = nest

    def __len__(self):
        return len(next(iter(self.nest.values())))

    def __getitem__(self, i):
        return {name: tensor[i] for name, tensor in self.nest.items()}


def hand_written(
    *,
    model,
    data,
    optimizer,
    epochs,
    loss=None,
    objective=None,
    batch_size=None,
    shuffle=None,
    drop_last=False,
    seed=0,
    scheduler=None,
    scheduler_per="epoch",
    clip_grad_norm=None,
    validation=None,
    validate_every=1,
    workers=0,
):
    """Train in place; returns every loss, `[steps]`."""
    shuffle = batch_size is not None if shuffle is None else shuffle
    loader = _loader(data, batch_size, shuffle, drop_last, seed, workers)

    def loss_of(batch):
        if objective is not None:
            return objective(model, batch)
        *inputs, target = batch
        return loss(model(*inputs), target)

    def closure(batch):
        optimizer.zero_grad()
        value = loss_of(batch)
        value.backward()
        if clip_grad_norm is not None:
            nn.utils.clip_grad_norm_(model.parameters(), clip_grad_norm)
        return value

    losses = []
    plateau = isinstance(scheduler, ReduceLROnPlateau)
    model.train()
    for epoch in range(epochs):
        for batch in loader:
            losses.append(optimizer.step(partial(closure, batch)).detach())
            if scheduler is not None and scheduler_per == "step":
                scheduler.step()
        if plateau and (epoch + 1) % validate_every == 0:
            scheduler.step(_loss_on(model, loss, validation))
        elif scheduler is not None and not plateau and scheduler_per == "epoch":
            scheduler.step()
    return torch.stack(losses)


def _loader(data, batch_size, shuffle, drop_last, seed, workers):
    if isinstance(data, DataLoader):
        return data
    if batch_size is None and not shuffle:
        return [data]
    if isinstance(data, dict):
        data = Rows(data)
    elif isinstance(data, tuple):
        data = TensorDataset(*data)
    iterable = isinstance(data, torch.utils.data.IterableDataset)
    return DataLoader(
        data,
        batch_size=batch_size or len(data),
        shuffle=None if iterable else shuffle,
        drop_last=drop_last,
        num_workers=workers,
        generator=torch.Generator().manual_seed(seed),
    )


def _loss_on(model, loss, validation):
    *inputs, target = validation
    model.eval()
    with torch.no_grad():
        value = float(loss(model(*inputs), target))
    model.train()
    return value


def assert_same_weights(model, other):
    ours, theirs = model.state_dict(), other.state_dict()
    assert ours.keys() == theirs.keys()
    different = [name for name in ours if not torch.equal(ours[name], theirs[name])]
    assert not different


def assert_same_run(run, other):
    assert torch.equal(run.losses, other.losses)
    assert run.history == other.history
    assert (run.metrics, run.status, run.best_step) == (other.metrics, other.status, other.best_step)
