"""Truncated backpropagation: the state goes on without its graph, and gradients of two windows are added."""

import torch
from torch import nn

device = "cuda" if torch.cuda.is_available() else "cpu"
torch.manual_seed(0)
letters = torch.randint(20, (8, 800), device=device)
embedding, recurrent, head = (
    nn.Embedding(20, 16),
    nn.LSTM(16, 32, dropout=0.1, num_layers=2),
    nn.Linear(32, 20),
)
model = nn.ModuleList([embedding, recurrent, head]).to(device)
optimizer = torch.optim.AdamW(model.parameters())
schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 40)
state = None
windows = letters.T.unfold(0, 9, 8).transpose(1, 2)  # each 9 letters of 8 texts
for number, window in enumerate(windows):
    outputs, state = recurrent(embedding(window[:-1]), state)
    state = tuple(part.detach() for part in state)
    loss = nn.functional.cross_entropy(head(outputs).flatten(0, 1), window[1:].flatten())
    (loss / 2).backward()
    if number % 2:
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
