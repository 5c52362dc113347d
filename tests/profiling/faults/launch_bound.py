"""Twenty layers of eight numbers: the time goes into starting them."""

import torch

torch.manual_seed(0)
layers = [layer for _ in range(10) for layer in (torch.nn.Linear(8, 8), torch.nn.Tanh())]
model = torch.nn.Sequential(*layers)
optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
x, y = torch.randn(16, 8), torch.randn(16, 8)
for _ in range(60):
    optimizer.zero_grad()
    loss = torch.nn.functional.mse_loss(model(x), y)  # FAULT: launch-bound
    loss.backward()
    optimizer.step()
