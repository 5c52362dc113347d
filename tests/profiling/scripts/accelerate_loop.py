"""A loop with Accelerate: prepared objects, accumulated gradients."""

import torch
from accelerate import Accelerator
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
accelerator = Accelerator(cpu=True, gradient_accumulation_steps=2)
data = TensorDataset(torch.randn(1024, 8), torch.randint(3, (1024,)))
net = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 3))
adam = torch.optim.AdamW(net.parameters(), lr=0.01)
loader = DataLoader(data, batch_size=16, shuffle=True)
model, optimizer, batches = accelerator.prepare(net, adam, loader)
total = 0.0
for x, y in batches:
    with accelerator.accumulate(model):
        loss = nn.functional.cross_entropy(model(x), y)
        accelerator.backward(loss)
        optimizer.step()
        optimizer.zero_grad()
    total += loss.item()  # the line to find
print(f"mean loss {total / len(batches):.4f}")
