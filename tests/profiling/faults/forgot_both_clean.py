"""Validation as it should be, and an accuracy for each epoch."""

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
images = torch.randn(192, 1, 12, 12)
labels = images.mean(dim=(1, 2, 3)).gt(0).long()
model = nn.Sequential(nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(800, 2))
optimizer = torch.optim.Adam(model.parameters())
held_out = DataLoader(TensorDataset(images[128:], labels[128:]), batch_size=32)
for _ in range(8):
    for rows in torch.randperm(128).split(16):
        loss = nn.functional.cross_entropy(model(images[rows]), labels[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    correct = 0
    model.eval()
    with torch.no_grad():
        for x, y in held_out:  # ALSO: data
            outputs = model(x)
            correct += (outputs.argmax(dim=1) == y).sum().item()  # ALSO: item
    print(f"accuracy {correct / 64:.3f}")  # ALSO: log
    model.train()
