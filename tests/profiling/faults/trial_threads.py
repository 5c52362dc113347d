"""A small model on many more threads than it can use."""  # TRIALS

import os

import torch
from torch import nn

torch.set_num_threads(4 * (os.cpu_count() or 1))
torch.manual_seed(0)
X = torch.randn(4096, 16)
y = X.sum(dim=1, keepdim=True)
model = nn.Sequential(nn.Linear(16, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 1))
optimizer = torch.optim.SGD(model.parameters(), lr=0.001)
for _ in range(30):
    loss = nn.functional.mse_loss(model(X), y)  # FAULT: threads
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
