"""The course's iris model on a GPU that its CPU beats."""  # GPU, TRIALS

import torch
from torch import nn

torch.manual_seed(0)
X = torch.randn(120, 4, device="cuda")
y = X[:, :3].argmax(dim=1)
model = nn.Sequential(nn.Linear(4, 10), nn.ReLU(), nn.Linear(10, 3)).to("cuda")
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for _ in range(60):
    optimizer.zero_grad()
    loss = nn.functional.cross_entropy(model(X), y)  # FAULT: device
    loss.backward()
    optimizer.step()
