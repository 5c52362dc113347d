"""Batches are pinned, and the host waits for each copy nevertheless."""  # GPU

import torch
from torch import nn

torch.manual_seed(0)
batches = torch.randn(64, 128, 64).pin_memory()
model = nn.Linear(64, 1).to("cuda")
optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
for batch in batches:
    inputs = batch.to("cuda")  # FAULT: blocking-copy
    loss = nn.functional.mse_loss(model(inputs), inputs.sum(dim=1, keepdim=True))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
