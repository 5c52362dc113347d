"""Pictures with their channels side by side in memory."""  # TRIALS

import torch
from torch import nn

device = "cuda" if torch.cuda.is_available() else "cpu"
torch.manual_seed(0)
X = torch.randn(8, 16, 24, 24, device=device).to(memory_format=torch.channels_last)
layers = nn.Conv2d(16, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 16, 3, padding=1)
model = nn.Sequential(*layers, nn.BatchNorm2d(16)).to(device, memory_format=torch.channels_last)
optimizer = torch.optim.SGD(model.parameters(), lr=0.001)
for _ in range(25):
    loss = model(X).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
