"""Batches are copied to the GPU from memory that is not pinned."""  # GPU

import torch
from torch import nn

torch.manual_seed(0)
X = torch.randn(4096, 64)
y = X.sum(dim=1, keepdim=True)
model = nn.Linear(64, 1).to("cuda")
optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
for _ in range(2):
    for rows in torch.arange(4096).split(128):
        inputs = X[rows].to("cuda")  # FAULT: unpinned
        targets = y[rows].to("cuda")  # ALSO: move
        loss = nn.functional.mse_loss(model(inputs), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
