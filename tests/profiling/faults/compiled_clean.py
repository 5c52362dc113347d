"""A compiled model: training, a last batch that is smaller, and validation are compiled once each."""

import torch
from torch import nn

torch.manual_seed(0)
X = torch.randn(90, 4)
y = X[:, :3].argmax(dim=1)
model = nn.Sequential(nn.Linear(4, 10), nn.ReLU(), nn.Dropout(0.1), nn.Linear(10, 3))
compiled = torch.compile(model, backend="eager")
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for _ in range(8):
    for rows in torch.randperm(80).split(16)[:-1] + torch.randperm(80).split(12)[-1:]:
        loss = nn.functional.cross_entropy(compiled(X[rows]), y[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        held_out = nn.functional.cross_entropy(compiled(X[80:]), y[80:])
    model.train()
print(held_out)
