"""A small model on one thread."""  # TRIALS

import torch
from torch import nn

torch.set_num_threads(1)
torch.manual_seed(0)
X = torch.randn(64, 16)
y = X.sum(dim=1, keepdim=True)
model = nn.Sequential(nn.Linear(16, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 1))
optimizer = torch.optim.SGD(model.parameters(), lr=0.001)
for _ in range(30):
    loss = nn.functional.mse_loss(model(X), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
