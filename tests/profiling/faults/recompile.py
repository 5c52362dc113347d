"""Every batch has another length, and torch.compile is told that shapes do not vary."""

import torch
from torch import nn

torch.manual_seed(0)
series = torch.randn(400, 1)


def score(x, weight):  # FAULT: recompile
    return torch.tanh(x * weight).mean()


compiled = torch.compile(score, backend="eager", dynamic=False)
weight = nn.Parameter(torch.ones(1))
optimizer = torch.optim.SGD([weight], lr=0.1)
for step in range(40):
    length = 100 + max(0, step // 8)
    loss = compiled(series[:length], weight)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
