"""Lightning: a `Trainer` with nothing switched on that is not training."""

from __future__ import annotations

import logging

import lightning
import torch
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset
from workloads import Row

from peers.steps import Steps

logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)


class Module(lightning.LightningModule):
    """A workload as Lightning wants it."""

    def __init__(self, row: Row) -> None:
        super().__init__()
        self.row, self.model = row, row.model()

    def training_step(self, batch: list[Tensor], _: int) -> Tensor:
        """The loss of a batch."""
        return self.row.objective(self.model, tuple(batch))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """The optimizer."""
        return self.row.optimizer_of(self.model)


def trainer(row: Row) -> Steps:
    """`Trainer.fit` for as many epochs as are asked for."""
    module = Module(row)
    batches = DataLoader(TensorDataset(*row.data()), row.step_samples, shuffle=True, drop_last=True)

    def run(count: int) -> None:
        lightning.Trainer(
            accelerator="cpu",
            devices=1,
            max_epochs=count // row.epoch_steps,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        ).fit(module, batches)

    return Steps(run, row.epoch_steps)
