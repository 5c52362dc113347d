"""Batches of two samples: nearly all of a step would take as long with more."""  # TRIALS

import torch
from torch import nn

device = "cuda" if torch.cuda.is_available() else "cpu"
torch.manual_seed(0)
X = torch.randn(80, 16, device=device)
y = X.sum(dim=1, keepdim=True)
model = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 1)).to(device)
optimizer = torch.optim.SGD(model.parameters(), lr=0.001)
for rows in torch.randperm(80, device=device).split(2):
    loss = nn.functional.mse_loss(model(X[rows]), y[rows])  # FAULT: batch
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
