"""The data lie on the GPU."""  # GPU

import torch
from torch import nn

torch.manual_seed(0)
X = torch.randn(4096, 64).to("cuda")
y = X.sum(dim=1, keepdim=True)
model = nn.Linear(64, 1).to("cuda")
optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
for _ in range(2):
    for rows in torch.arange(4096, device="cuda").split(128):
        loss = nn.functional.mse_loss(model(X[rows]), y[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
