"""The model validates in evaluation mode, without a graph."""

import torch
from torch import nn

device = "cuda" if torch.cuda.is_available() else "cpu"
torch.manual_seed(0)
X = torch.randn(150, 4, device=device)
y = X[:, :3].argmax(dim=1)
layers = nn.Linear(4, 10), nn.ReLU(), nn.Dropout(0.2), nn.Linear(10, 3)
model = nn.Sequential(*layers).to(device)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
loss_function = nn.CrossEntropyLoss()


@torch.no_grad()
def validate():
    model.eval()
    loss = loss_function(model(X[120:]), y[120:])
    model.train()
    return loss


for step in range(60):
    optimizer.zero_grad()
    loss_function(model(X[:120]), y[:120]).backward()
    optimizer.step()
    if step % 30 == 25:
        print(validate())
