"""Each sample is made by Python as it is needed, in the process that trains."""

import math

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset


class Waves(Dataset):
    def __len__(self):
        return 512

    def __getitem__(self, index):
        wave = [math.sin(0.1 * step * (1 + index % 7)) for step in range(400)]
        return torch.tensor(wave), index % 7  # ALSO: tensor


def main():
    torch.manual_seed(0)
    loader = DataLoader(Waves(), batch_size=16, shuffle=True)
    model = nn.Sequential(nn.Linear(400, 32), nn.ReLU(), nn.Linear(32, 7))
    optimizer = torch.optim.Adam(model.parameters())
    for _ in range(2):
        for waves, kinds in loader:  # FAULT: data
            loss = nn.functional.cross_entropy(model(waves), kinds)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()


if __name__ == "__main__":
    main()
