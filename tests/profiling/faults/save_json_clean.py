"""A report is written at the end."""

import json
from pathlib import Path

import torch
from torch import nn


class Forecast(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(1, 8, batch_first=True)
        self.head = nn.Linear(8, 1)

    def forward(self, series):
        states, _ = self.lstm(series)
        return self.head(states[:, -1])


device = "cuda" if torch.cuda.is_available() else "cpu"
torch.manual_seed(0)
waves = torch.sin(torch.linspace(0, 50, 400, device=device)).unfold(0, 12, 1).unsqueeze(-1)
model = Forecast().to(device)
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)

for step in range(60):
    window = waves[6 * step : 6 * step + 24]
    loss = nn.functional.mse_loss(model(window[:, :-1]), window[:, -1])
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()

with Path("report.json").open("w") as file:
    json.dump({"steps": 60}, file)
