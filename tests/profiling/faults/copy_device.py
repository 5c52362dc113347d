"""The losses are copied to the host at every step."""  # GPU

import torch
from torch import nn

torch.manual_seed(0)
X = torch.randn(120, 4, device="cuda")
model = nn.Linear(4, 1).to("cuda")
optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
losses = []
for _ in range(60):
    loss = nn.functional.mse_loss(model(X), X.sum(dim=1, keepdim=True))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    losses.append(loss.detach().cpu())  # FAULT: move
