"""Large products in bfloat16."""  # GPU, TRIALS

import torch
from torch import nn

torch.manual_seed(0)
X = torch.randn(4096, 2048, device="cuda")
model = nn.Sequential(nn.Linear(2048, 4096), nn.ReLU(), nn.Linear(4096, 2048)).to("cuda")
optimizer = torch.optim.SGD(model.parameters(), lr=0.001, fused=True)
for _ in range(30):
    with torch.autocast("cuda", dtype=torch.bfloat16):
        loss = nn.functional.mse_loss(model(X), X)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
