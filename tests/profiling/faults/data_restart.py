"""Epochs of two batches, and a worker that starts anew for each of them."""

import time

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset


class Squares(Dataset):
    def __len__(self):
        return 4

    def __getitem__(self, index):
        return torch.full((4,), index / 4), torch.full((1,), (index / 4) ** 2)


class Slow(nn.Linear):
    def forward(self, x):
        time.sleep(0.06)  # a larger model
        return super().forward(x)


def main():
    torch.manual_seed(0)
    loader = DataLoader(Squares(), batch_size=2, shuffle=True, num_workers=1)
    model = Slow(4, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for _ in range(10):
        for x, y in loader:  # FAULT: data
            loss = nn.functional.mse_loss(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()


if __name__ == "__main__":
    main()
