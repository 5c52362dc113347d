"""A training to kill: run in a process of its own, with a checkpoint after each chunk."""

import math
import traceback
from pathlib import Path

import torch
from cases import base, mlp
from torch import nn

import flatout.report.curve
import flatout.training.session
from flatout import fit

EPOCHS = 100


def case(plan="eager"):
    between = [nn.Dropout(0.4)] if plan == "eager" else []
    return base(mlp(*between), lambda p: torch.optim.Adam(p, lr=0.01), epochs=EPOCHS, name="kill")


def train_or_resume(parent, directory, plan="eager"):
    """Train in a new run directory in `parent`, or go on in `directory`."""
    torch.set_num_threads(1)
    flatout.training.session._CHECKPOINT_SHARE = math.inf
    flatout.training.chunk.TARGET_SECONDS = 0.002
    where = {"run_dir": parent, "plan": plan} if directory is None else {"resume": directory}
    try:
        fit(**case(plan), **where, checkpoint_every=0)
    except BaseException:
        Path(parent, "error.txt").write_text(traceback.format_exc())
        raise
