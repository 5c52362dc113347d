"""Keras 3 on PyTorch: `fit` with nothing shown."""

from __future__ import annotations

import os

os.environ["KERAS_BACKEND"] = "torch"

from typing import Any

import keras
import torch
from workloads import Row

from peers.steps import Steps, whole_batches


class Objective(keras.Sequential):
    """A network whose loss is the workload's objective on the inputs alone."""

    row: Row

    def train_step(self, data: tuple[Any, ...]) -> dict[str, Any]:
        """One step, as Keras' guide to `fit` on PyTorch writes it."""
        self.zero_grad()
        loss = self.row.objective(self, (data[0],))
        loss.backward()  # type: ignore[no-untyped-call]
        gradients = [weight.value.grad for weight in self.trainable_weights]
        with torch.no_grad():
            self.optimizer.apply(gradients, self.trainable_weights)
        return {"loss": loss.detach()}


def fit(row: Row) -> Steps:
    """`Model.fit` for as many epochs as are asked for."""
    model = _network(row)
    X, *rest = (part.numpy() for part in whole_batches(row))
    y = rest[0] if rest else None

    def run(count: int) -> None:
        epochs = count // row.epoch_steps
        model.fit(X, y, batch_size=row.step_samples, epochs=epochs, shuffle=True, verbose=0)

    return Steps(run, row.epoch_steps)


def _network(row: Row) -> Any:
    """The network of a workload, with the same first weights as everyone's."""
    *hidden, last = row.sizes[1:]
    layers = [keras.layers.Dense(size, row.activation) for size in hidden] + [keras.layers.Dense(last)]
    model = (Objective if row.loss == "pinn" else keras.Sequential)([keras.Input(row.sizes[:1]), *layers])
    linear = [layer for layer in row.model() if isinstance(layer, torch.nn.Linear)]
    for ours, theirs in zip(layers, linear, strict=True):
        ours.set_weights([theirs.weight.detach().numpy().T, theirs.bias.detach().numpy()])
    model.row = row
    losses = {
        "ce": keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        "mse": keras.losses.MeanSquaredError(),
    }
    optimizer = keras.optimizers.SGD if row.optimizer == "sgd" else keras.optimizers.Adam
    model.compile(
        optimizer=optimizer(row.rate),
        loss=losses.get(row.loss),
    )
    return model
