"""An array is saved at every fourth step, and takes much of the time."""

import numpy as np
import torch
from torch import nn

device = "cuda" if torch.cuda.is_available() else "cpu"
torch.manual_seed(0)
X = torch.randn(120, 4, device=device)
y = X[:, :3].argmax(dim=1)
model = nn.Sequential(nn.Linear(4, 10), nn.ReLU(), nn.Linear(10, 3)).to(device)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
loss_function = nn.CrossEntropyLoss()
noise = np.zeros((500, 1000))
for step in range(160):
    optimizer.zero_grad()
    loss = loss_function(model(X), y)
    loss.backward()
    optimizer.step()
    if step % 4 == 0:
        np.save("noise.npy", noise)  # FAULT: save
