"""A small GPT in the manner of nanoGPT: positions and the causal mask are made in forward."""

import torch
from torch import nn

LENGTH, WIDTH, LETTERS = 16, 32, 27


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.attention = nn.Linear(WIDTH, 3 * WIDTH)
        self.mlp = nn.Sequential(nn.Linear(WIDTH, 4 * WIDTH), nn.GELU(), nn.Linear(4 * WIDTH, WIDTH))

    def forward(self, x):
        queries, keys, values = self.attention(self.norm1(x)).chunk(3, dim=-1)
        mask = torch.ones(LENGTH, LENGTH, dtype=torch.bool, device=x.device).tril()  # FAULT: made-in-forward
        x = x + nn.functional.scaled_dot_product_attention(queries, keys, values, attn_mask=mask)
        return x + self.mlp(self.norm2(x))


class GPT(nn.Module):
    def __init__(self):
        super().__init__()
        self.letters, self.places = nn.Embedding(LETTERS, WIDTH), nn.Embedding(LENGTH, WIDTH)
        self.blocks = nn.Sequential(Block(), Block())
        self.head = nn.Linear(WIDTH, LETTERS)

    def forward(self, text):
        places = torch.arange(LENGTH, device=text.device)  # FAULT: made-in-forward
        return self.head(self.blocks(self.letters(text) + self.places(places)))


device = "cuda" if torch.cuda.is_available() else "cpu"
torch.manual_seed(0)
text = torch.randint(LETTERS, (4000,), device=device)
windows = text.unfold(0, LENGTH + 1, 1)
model = GPT().to(device)
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
for _ in range(40):
    batch = windows[torch.randint(len(windows), (8,), device=device)]
    logits = model(batch[:, :-1])
    loss = nn.functional.cross_entropy(logits.flatten(0, 1), batch[:, 1:].flatten())
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
