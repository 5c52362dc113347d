"""The wrong ones of each batch are selected in five ways."""

import torch
from torch import nn

device = "cuda" if torch.cuda.is_available() else "cpu"
torch.manual_seed(0)
images = torch.randn(256, 1, 12, 12, device=device)
labels = images.mean(dim=(1, 2, 3)).gt(0).long()
model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(400, 2)).to(device)
optimizer = torch.optim.Adam(model.parameters())

for _ in range(8):
    for rows in torch.randperm(256, device=device).split(32):
        outputs = model(images[rows])
        loss = nn.functional.cross_entropy(outputs, labels[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        wrong = outputs.argmax(dim=1) != labels[rows]
        hard = images[rows][wrong]  # FAULT: mask
        where = wrong.nonzero()  # FAULT: mask
        worst = torch.masked_select(outputs[:, 0], wrong)  # FAULT: mask
        pairs = torch.where(wrong)  # FAULT: mask
        classes = torch.unique(labels[rows])  # FAULT: mask
