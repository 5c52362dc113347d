"""Averaged weights, activation checkpoints, and batch norm measured anew by torch itself."""

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, update_bn
from torch.utils.checkpoint import checkpoint


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(4, 32), nn.BatchNorm1d(32), nn.ReLU())
        self.head = nn.Sequential(nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 3))

    def forward(self, x):
        return checkpoint(self.head, self.body(x), use_reentrant=False)


device = "cuda" if torch.cuda.is_available() else "cpu"
torch.manual_seed(0)
X = torch.randn(128, 4, device=device)
y = X[:, :3].argmax(dim=1)
model = Net().to(device)
averaged = AveragedModel(model)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for _ in range(12):
    for rows in torch.randperm(128, device=device).split(32):
        loss = nn.functional.cross_entropy(model(X[rows]), y[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    averaged.update_parameters(model)
    update_bn(X.split(32), averaged)
averaged.eval()
with torch.no_grad():
    print(averaged(X).argmax(dim=1).eq(y).float().mean())
