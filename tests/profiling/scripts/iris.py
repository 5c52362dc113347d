"""The iris loop of an introduction to PyTorch: full batches, and the loss read in each epoch."""

import torch
import torch.nn.functional as F
from sklearn.datasets import load_iris
from sklearn.model_selection import train_test_split
from torch import nn


class Model(nn.Module):
    def __init__(self, inputs=4, hidden=10, classes=3):
        super().__init__()
        self.fc1 = nn.Linear(inputs, hidden)
        self.fc2 = nn.Linear(hidden, hidden)
        self.out = nn.Linear(hidden, classes)

    def forward(self, x):
        x = F.relu(self.fc1(x))
        x = F.relu(self.fc2(x))
        return self.out(x)


torch.manual_seed(41)
model = Model()
X, y = load_iris(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.2, random_state=41)
X_train, X_test = torch.FloatTensor(X_train), torch.FloatTensor(X_test)
y_train, y_test = torch.LongTensor(y_train), torch.LongTensor(y_test)

criterion = nn.CrossEntropyLoss()
optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
epochs = 200
losses = []
for epoch in range(epochs):
    loss = criterion(model.forward(X_train), y_train)
    losses.append(loss.item())  # the line to find
    if epoch % 10 == 0:
        print(f"epoch {epoch}, loss {losses[-1]:.4f}")
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()

with torch.no_grad():
    right = (model(X_test).argmax(1) == y_test).sum().item()
print(f"{right} of {len(y_test)} are right")
