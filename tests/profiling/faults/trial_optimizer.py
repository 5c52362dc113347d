"""Adam starts a dozen operators for each of many small parameters."""  # TRIALS

import torch
from torch import nn

device = "cuda" if torch.cuda.is_available() else "cpu"
torch.manual_seed(0)
X = torch.randn(64, 16, device=device)
y = X.sum(dim=1, keepdim=True)
layers = [nn.Linear(16, 16) for _ in range(20)]
model = nn.Sequential(*layers, nn.Linear(16, 1)).to(device)
optimizer = torch.optim.Adam(model.parameters(), lr=0.001)
for _ in range(30):
    loss = nn.functional.mse_loss(model(X), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()  # FAULT: optimizer
