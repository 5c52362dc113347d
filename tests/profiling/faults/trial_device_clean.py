"""A model that is large enough for its GPU."""  # GPU, TRIALS

import torch
from torch import nn

torch.manual_seed(0)
X = torch.randn(32768, 1024, device="cuda")
y = X[:, :3].argmax(dim=1)
model = nn.Sequential(nn.Linear(1024, 4096), nn.ReLU(), nn.Linear(4096, 3)).to("cuda")
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for _ in range(60):
    optimizer.zero_grad()
    loss = nn.functional.cross_entropy(model(X), y)
    loss.backward()
    optimizer.step()
