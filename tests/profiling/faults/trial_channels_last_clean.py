"""Pictures with their channels side by side in memory."""  # TRIALS

import torch
from torch import nn

device = "cuda" if torch.cuda.is_available() else "cpu"
torch.manual_seed(0)
X = torch.randn(8, 3, 32, 32, device=device).to(memory_format=torch.channels_last)
layers = nn.Conv2d(3, 32, 3, padding=1), nn.GroupNorm(4, 32), nn.GELU(), nn.AvgPool2d(2)
model = nn.Sequential(*layers, nn.Upsample(scale_factor=2), nn.Conv2d(32, 32, 1)).to(
    device, memory_format=torch.channels_last
)
optimizer = torch.optim.SGD(model.parameters(), lr=0.001)
for _ in range(80):
    loss = model(X).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
