"""Gradients are let go."""  # TRIALS

import torch
from torch import nn

device = "cuda" if torch.cuda.is_available() else "cpu"
torch.manual_seed(0)
X = torch.randn(4, 1024, device=device)
model = nn.Sequential(nn.Linear(1024, 2048), nn.ReLU(), nn.Linear(2048, 1024)).to(device)
optimizer = torch.optim.SGD(model.parameters(), lr=0.001)
for _ in range(30):
    loss = nn.functional.mse_loss(model(X), X)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
