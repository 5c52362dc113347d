"""A GAN: the generator works in training mode without a graph where only the discriminator trains."""

import torch
from torch import nn

device = "cuda" if torch.cuda.is_available() else "cpu"
torch.manual_seed(0)
real = 2 + torch.randn(512, 2, device=device)
generator = nn.Sequential(nn.Linear(4, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 2)).to(device)
discriminator = nn.Sequential(nn.Linear(2, 16), nn.Dropout(0.1), nn.ReLU(), nn.Linear(16, 1)).to(device)
generator_optimizer = torch.optim.Adam(generator.parameters(), lr=1e-3)
discriminator_optimizer = torch.optim.Adam(discriminator.parameters(), lr=1e-3)
judge = nn.BCEWithLogitsLoss()
ones, zeros = torch.ones(64, 1, device=device), torch.zeros(64, 1, device=device)
for _ in range(50):
    noise = torch.randn(64, 4, device=device)
    with torch.no_grad():
        fake = generator(noise)
    rows = torch.randint(512, (64,), device=device)
    loss = judge(discriminator(real[rows]), ones) + judge(discriminator(fake), zeros)
    discriminator_optimizer.zero_grad()
    loss.backward()
    discriminator_optimizer.step()

    loss = judge(discriminator(generator(noise)), ones)
    generator_optimizer.zero_grad()
    loss.backward()
    generator_optimizer.step()
