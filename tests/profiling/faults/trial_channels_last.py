"""Pictures with their channels apart in memory."""  # TRIALS

import torch
from torch import nn

device = "cuda" if torch.cuda.is_available() else "cpu"
torch.manual_seed(0)
X = torch.randn(8, 3, 32, 32, device=device)
layers = nn.Conv2d(3, 32, 3, padding=1), nn.GroupNorm(4, 32), nn.GELU(), nn.AvgPool2d(2)
model = nn.Sequential(*layers, nn.Upsample(scale_factor=2), nn.Conv2d(32, 32, 1)).to(device)
optimizer = torch.optim.SGD(model.parameters(), lr=0.001)
for _ in range(80):
    loss = model(X).square().mean()  # FAULT: channels-last
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
