"""Whole batches are taken from the tensors."""

import torch
from torch import nn

torch.manual_seed(0)
X = torch.randn(2048, 8)
y = X.sum(dim=1, keepdim=True)
model = nn.Linear(8, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
for _ in range(2):
    for rows in torch.randperm(len(X)).split(64):
        loss = nn.functional.mse_loss(model(X[rows]), y[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
