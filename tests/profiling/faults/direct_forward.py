"""The loop calls forward, and not the model: a hook that should count never runs."""

import torch
from torch import nn


class Base(nn.Module):
    def __init__(self):
        super().__init__()
        self.hidden, self.out = nn.Linear(4, 10), nn.Linear(10, 3)

    def forward(self, x):
        return self.out(torch.relu(self.hidden(x)))


class Scaled(Base):
    def forward(self, x):
        return super().forward(x) / 2


device = "cuda" if torch.cuda.is_available() else "cpu"
torch.manual_seed(0)
X = torch.randn(120, 4, device=device)
y = X[:, :3].argmax(dim=1)
model = Scaled().to(device)
calls = []
model.register_forward_hook(lambda *_: calls.append(1))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for _ in range(60):
    optimizer.zero_grad()
    loss = nn.functional.cross_entropy(model.forward(X), y)  # FAULT: direct-forward
    loss.backward()
    optimizer.step()
print(len(calls))
