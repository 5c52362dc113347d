"""skorch: a `NeuralNet` with its callbacks off."""

from __future__ import annotations

from typing import Any

import skorch
import torch
from skorch.dataset import unpack_data
from workloads import Row

from peers.steps import Steps


class Objective(skorch.NeuralNet):
    """A net whose loss is the workload's objective on the inputs alone."""

    row: Row

    def train_step_single(self, batch: Any, **_: Any) -> dict[str, Any]:
        """One forward and backward pass."""
        self._set_training(True)
        X, _ = unpack_data(batch)
        loss = self.row.objective(self.module_, (X,))
        loss.backward()  # type: ignore[no-untyped-call]
        return {"loss": loss, "y_pred": X}


def net(row: Row) -> Steps:
    """`partial_fit` for as many epochs as are asked for."""
    kind = Objective if row.loss == "pinn" else skorch.NeuralNet
    network = kind(
        row.model(),
        criterion=torch.nn.MSELoss if row.loss == "mse" else torch.nn.CrossEntropyLoss,
        optimizer=torch.optim.SGD if row.optimizer == "sgd" else torch.optim.Adam,
        lr=row.rate,
        batch_size=row.step_samples,
        iterator_train__shuffle=True,
        iterator_train__drop_last=True,
        train_split=None,
        callbacks="disable",
        verbose=0,
    )
    network.row = row
    network.initialize()
    X, *y = row.data()

    def run(count: int) -> None:
        network.fit_loop(X, *y, epochs=count // row.epoch_steps)

    return Steps(run, row.epoch_steps)
