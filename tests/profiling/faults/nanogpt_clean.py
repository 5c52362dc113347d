"""The loop of nanoGPT: estimates of the losses, accumulated gradients, clipping, a schedule."""

import math
import time
from contextlib import nullcontext

import torch
from torch import nn

LENGTH, WIDTH, LETTERS, STEPS = 16, 32, 27, 60


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.attention = nn.Linear(WIDTH, 3 * WIDTH)
        self.mlp = nn.Sequential(
            nn.Linear(WIDTH, 4 * WIDTH), nn.GELU(), nn.Linear(4 * WIDTH, WIDTH), nn.Dropout(0.1)
        )

    def forward(self, x):
        queries, keys, values = self.attention(self.norm1(x)).chunk(3, dim=-1)
        x = x + nn.functional.scaled_dot_product_attention(queries, keys, values, is_causal=True)
        return x + self.mlp(self.norm2(x))


class GPT(nn.Module):
    def __init__(self):
        super().__init__()
        self.letters, self.places = nn.Embedding(LETTERS, WIDTH), nn.Embedding(LENGTH, WIDTH)
        self.blocks = nn.ModuleList([Block(), Block()])
        self.head = nn.Linear(WIDTH, LETTERS, bias=False)
        self.letters.weight = self.head.weight

    def forward(self, text, targets=None):
        places = torch.arange(text.size(1), device=text.device)  # ALSO: made-in-forward
        x = self.letters(text) + self.places(places)
        for block in self.blocks:
            x = block(x)
        logits = self.head(x)
        if targets is None:
            return logits, None
        return logits, nn.functional.cross_entropy(logits.view(-1, LETTERS), targets.reshape(-1))


device = "cuda" if torch.cuda.is_available() else "cpu"
torch.manual_seed(0)
data = {"train": torch.randint(LETTERS, (4000,)), "val": torch.randint(LETTERS, (400,))}
context = nullcontext() if device == "cpu" else torch.autocast(device_type=device, dtype=torch.bfloat16)


def get_batch(split):
    starts = torch.randint(len(data[split]) - LENGTH - 1, (8,))
    x = torch.stack([data[split][start : start + LENGTH] for start in starts])  # ALSO: int
    y = torch.stack([data[split][start + 1 : start + 1 + LENGTH] for start in starts])  # ALSO: int
    if device == "cuda":
        return x.pin_memory().to(device, non_blocking=True), y.pin_memory().to(device, non_blocking=True)
    return x.to(device), y.to(device)


@torch.no_grad()
def estimate_loss():
    model.eval()
    out = {}
    for split in ("train", "val"):
        losses = torch.zeros(2)
        for k in range(2):
            _, loss = model(*get_batch(split))
            losses[k] = loss.item()
        out[split] = losses.mean()
    model.train()
    return out


model = GPT().to(device)
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, betas=(0.9, 0.95))
scaler = torch.amp.GradScaler(device, enabled=False)
x, y = get_batch("train")
began = time.time()
for step in range(STEPS):
    for group in optimizer.param_groups:
        group["lr"] = 1e-3 * 0.5 * (1 + math.cos(math.pi * step / STEPS))
    if step % 25 == 0:
        losses = estimate_loss()
        print(f"step {step}: train {losses['train']:.4f}, val {losses['val']:.4f}")
    for _ in range(2):
        with context:
            _, loss = model(x, y)
            loss = loss / 2
        x, y = get_batch("train")
        scaler.scale(loss).backward()
    scaler.unscale_(optimizer)
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    scaler.step(optimizer)
    scaler.update()
    optimizer.zero_grad(set_to_none=True)
    if step % 20 == 0:
        print(f"{step}: {2 * loss.item():.4f}, {time.time() - began:.1f} s")
