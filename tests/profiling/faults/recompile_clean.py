"""Every batch has the same length but the last, so that one more is compiled."""

import torch
from torch import nn

torch.manual_seed(0)
series = torch.randn(400, 1)


def score(x, weight):
    return torch.tanh(x * weight).mean()


compiled = torch.compile(score, backend="eager", dynamic=False)
weight = nn.Parameter(torch.ones(1))
optimizer = torch.optim.SGD([weight], lr=0.1)
for step in range(40):
    length = 100 if step < 39 else 60
    loss = compiled(series[:length], weight)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
