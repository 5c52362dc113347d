"""A small GPT with accumulated gradients, clipping, groups of AdamW, evaluation and checkpoints."""

import argparse
import math
import time
from contextlib import nullcontext
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

parser = argparse.ArgumentParser()
parser.add_argument("--steps", type=int, default=60)
parser.add_argument("--batch_size", type=int, default=4)
parser.add_argument("--block_size", type=int, default=16)
parser.add_argument("--accumulate", type=int, default=2)
parser.add_argument("--eval_every", type=int, default=20)
parser.add_argument("--eval_batches", type=int, default=3)
parser.add_argument("--lr", type=float, default=1e-3)
parser.add_argument("--out", type=Path, default=Path("out"))
config = parser.parse_args()


class Attention(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.project = nn.Linear(width, width, bias=False)

    def forward(self, x):
        batch, length, width = x.shape
        shape = batch, length, self.heads, width // self.heads
        q, k, v = (part.view(shape).transpose(1, 2) for part in self.qkv(x).split(width, dim=2))
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.project(mixed.transpose(1, 2).reshape(batch, length, width))


class Block(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.norms = nn.ModuleList([nn.LayerNorm(width), nn.LayerNorm(width)])
        self.attention = Attention(width, heads)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x):
        x = x + self.attention(self.norms[0](x))
        return x + self.mlp(self.norms[1](x))


class GPT(nn.Module):
    def __init__(self, words, length, width=32, heads=2, layers=2):
        super().__init__()
        self.tokens = nn.Embedding(words, width)
        self.positions = nn.Embedding(length, width)
        self.blocks = nn.Sequential(*(Block(width, heads) for _ in range(layers)))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, words, bias=False)
        self.tokens.weight = self.head.weight

    def forward(self, tokens, targets):
        x = self.tokens(tokens) + self.positions(torch.arange(tokens.shape[1]))
        logits = self.head(self.norm(self.blocks(x)))
        return logits, F.cross_entropy(logits.flatten(0, 1), targets.flatten())


torch.manual_seed(1337)
text = "the quick brown fox jumps over the lazy dog. " * 40
letters = sorted(set(text))
data = torch.tensor([letters.index(letter) for letter in text])
train_data, val_data = data[: len(data) * 9 // 10], data[len(data) * 9 // 10 :]
model = GPT(len(letters), config.block_size)


def get_batch(source):
    starts = torch.randint(len(source) - config.block_size - 1, (config.batch_size,)).tolist()
    x = torch.stack([source[start : start + config.block_size] for start in starts])
    y = torch.stack([source[start + 1 : start + 1 + config.block_size] for start in starts])
    return x, y


@torch.no_grad()
def estimate_loss():
    model.eval()
    means = {}
    for name, source in (("train", train_data), ("val", val_data)):
        losses = torch.zeros(config.eval_batches)
        for number in range(config.eval_batches):
            _, loss = model(*get_batch(source))
            losses[number] = loss.item()
        means[name] = losses.mean().item()
    model.train()
    return means


def learning_rate(step):
    return config.lr * 0.5 * (1 + math.cos(math.pi * step / config.steps))


decayed = [parameter for parameter in model.parameters() if parameter.dim() >= 2]
others = [parameter for parameter in model.parameters() if parameter.dim() < 2]
groups = [{"params": decayed, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}]
optimizer = torch.optim.AdamW(groups, lr=config.lr, betas=(0.9, 0.95))
autocast = nullcontext()

x, y = get_batch(train_data)
best = math.inf
began = time.time()
for step in range(config.steps):
    for group in optimizer.param_groups:
        group["lr"] = learning_rate(step)
    if step % config.eval_every == 0:
        losses = estimate_loss()
        print(f"step {step}: train loss {losses['train']:.4f}, val loss {losses['val']:.4f}")
        if losses["val"] < best:
            best = losses["val"]
            config.out.mkdir(exist_ok=True)
            torch.save({"model": model.state_dict(), "step": step}, config.out / "ckpt.pt")
    for _ in range(config.accumulate):
        with autocast:
            _, loss = model(x, y)
            loss = loss / config.accumulate
        x, y = get_batch(train_data)
        loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    lossf = loss.item() * config.accumulate  # the line to find
    if step % 10 == 0:
        print(f"iter {step}: loss {lossf:.4f}")
