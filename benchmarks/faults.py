"""Training scripts with one fault each, and the same scripts without it.

A script trains for some hundred steps and then prints the median milliseconds of a step to standard error.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

_LOOP = """\
import statistics, sys, time
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
{model}
optimizer = torch.optim.{optimizer}
times = []
step, ended = 0, time.perf_counter()
while step < {steps}:
    for x, y in {batches}:
        step += 1
        {zero}
        {forward}
        loss = nn.functional.mse_loss(out, y)
        loss.backward()
        optimizer.step()
        {extra}
        now = time.perf_counter()
        times.append(now - ended)
        ended = now
print(1e3 * statistics.median(times[20:]), file=sys.stderr)
"""

_PARTS = {
    "model": "",
    "optimizer": "SGD(model.parameters(), lr=0.01)",
    "steps": "300",
    "batches": "[(X, Y)] * 50",
    "zero": "optimizer.zero_grad()",
    "forward": "out = model(x)",
    "extra": "pass",
}


@dataclass(frozen=True)
class Fault:
    """A fault that can be planted in a script.

    Attributes:
        name: in words.
        kind: of the finding that should find it.
        model: the lines that make the model and the data, `model`, `X` and `Y`.
        faulty: the parts of the script that have the fault.
        fixed: the same parts without it; "{code}" stands for what the finding says.
    """

    name: str
    kind: str
    model: str
    faulty: Mapping[str, str]
    fixed: Mapping[str, str]

    def script(self, code: str | None = None) -> str:
        """The whole script: with the fault, or fixed where there is the code of its finding."""
        fixed = (
            {} if code is None else {part: text.replace("{code}", code) for part, text in self.fixed.items()}
        )
        return _LOOP.format(**{**_PARTS, "model": self.model, **self.faulty, **fixed})


def _data(x: str, y: str) -> str:
    return f"X, Y = torch.randn({x}), torch.randn({y})\n"


_SMALL = (
    _data("8192, 32", "8192, 16") + "model = nn.Sequential(nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, 16))"
)
_WIDE = (
    _data("128, 512", "128, 512")
    + "model = nn.Sequential(nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 512))"
)
_DEEP = _data("32, 16", "32, 16") + (
    "model = nn.Sequential(*(nn.Sequential(nn.Linear(16, 16), nn.LayerNorm(16)) for _ in range(30)))"
)
_HEAVY = _data("4, 512", "4, 512") + "model = nn.Sequential(*(nn.Linear(512, 512) for _ in range(4)))"
_SQUARE = _data("256, 256", "256, 256") + "model = nn.Sequential(*(nn.Linear(256, 256) for _ in range(6)))"
_LARGE = _data("256, 1024", "256, 1024") + "model = nn.Sequential(*(nn.Linear(1024, 1024) for _ in range(2)))"
_PICTURES = _data("8, 3, 32, 32", "8, 32") + (
    "model = nn.Sequential(nn.Conv2d(3, 32, 3, padding=1), nn.GroupNorm(4, 32), nn.GELU(), nn.AvgPool2d(2), "
    "nn.Upsample(scale_factor=2), nn.Conv2d(32, 32, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())"
)
_SLICES = {"batches": "zip(X.split(256), Y.split(256))", "steps": "600"}

FAULTS = (
    Fault(
        "samples of a `TensorDataset`, one by one",
        "data",
        _SMALL,
        {"batches": "DataLoader(TensorDataset(X, Y), batch_size=256, shuffle=True)", "steps": "600"},
        {"batches": "((X[rows], Y[rows]) for rows in torch.randperm(len(X)).split(256))"},
    ),
    Fault(
        "`print(out[0])` in every step",
        "print",
        _SMALL,
        {**_SLICES, "extra": "print(out[0])"},
        {"extra": "if step % 100 == 0: print(out[0])"},
    ),
    Fault(
        "a tensor in a string in every step",
        "format",
        _SMALL,
        {**_SLICES, "extra": "text = f'{step}: {out[0]}'"},
        {"extra": "if step % 100 == 0: text = f'{step}: {out[0]}'"},
    ),
    Fault(
        "`out.tolist()` in every step",
        "tolist",
        _SMALL,
        {**_SLICES, "extra": "kept = out.tolist()"},
        {"extra": "if step % 100 == 0: kept = out.tolist()"},
    ),
    Fault(
        "a model in float64",
        "float64",
        _WIDE + "\nmodel, X, Y = model.double(), X.double(), Y.double()",
        {},
        {"model": _WIDE},
    ),
    Fault(
        "Adam for 120 small parameters, not fused",
        "optimizer",
        _DEEP,
        {"optimizer": "Adam(model.parameters(), lr=1e-4)"},
        {"optimizer": "Adam(model.parameters(), lr=1e-4, fused=True)"},
    ),
    Fault(
        "`zero_grad(set_to_none=False)`",
        "zero-grad",
        _HEAVY,
        {"zero": "optimizer.zero_grad(set_to_none=False)"},
        {"zero": "optimizer.zero_grad()"},
    ),
    Fault(
        "8 threads on 2 cores",
        "threads",
        f"torch.set_num_threads(8)\n{_SQUARE}",
        {},
        {"model": f"{{code}}\n{_SQUARE}"},
    ),
    Fault(
        "the channels of pictures apart",
        "channels-last",
        _PICTURES,
        {},
        {
            "model": f"{_PICTURES}\nmodel = model.to(memory_format=torch.channels_last)",
            "batches": "((X.to(memory_format=torch.channels_last), Y) for _ in range(50))",
        },
    ),
    Fault(
        "products in full float32",
        "precision",
        _LARGE,
        {"steps": "150"},
        {"forward": "with torch.autocast('cpu', torch.bfloat16): out = model(x)\n        out = out.float()"},
    ),
)
