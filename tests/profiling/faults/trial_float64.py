"""Arrays of NumPy are float64, and so the model is made float64."""  # TRIALS

import numpy as np
import torch
from torch import nn

device = "cuda" if torch.cuda.is_available() else "cpu"
torch.manual_seed(0)
X = torch.from_numpy(np.random.default_rng(0).normal(size=(512, 256))).to(device)
y = X.sum(dim=1, keepdim=True)
model = nn.Sequential(nn.Linear(256, 512), nn.ReLU(), nn.Linear(512, 1)).double().to(device)
optimizer = torch.optim.SGD(model.parameters(), lr=0.001)
for _ in range(30):
    loss = nn.functional.mse_loss(model(X), y)  # FAULT: float64
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
