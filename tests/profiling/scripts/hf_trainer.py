"""A causal language model from a configuration, trained by the Trainer of transformers."""

import torch
from torch.utils.data import Dataset
from transformers import GPT2Config, GPT2LMHeadModel, Trainer, TrainingArguments


class Sequences(Dataset):
    def __init__(self, count=128, length=12):
        self.tokens = torch.randint(50, (count, length), generator=torch.Generator().manual_seed(0))

    def __len__(self):
        return len(self.tokens)

    def __getitem__(self, index):
        return {"input_ids": self.tokens[index], "labels": self.tokens[index]}


class LoggingTrainer(Trainer):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.losses = []

    def compute_loss(self, model, inputs, *args, **kwargs):
        loss = super().compute_loss(model, inputs, *args, **kwargs)
        self.losses.append(loss.item())  # the line to find
        return loss


torch.manual_seed(0)
model = GPT2LMHeadModel(GPT2Config(vocab_size=50, n_positions=16, n_embd=16, n_layer=1, n_head=2))
arguments = TrainingArguments(
    output_dir="out",
    max_steps=40,
    per_device_train_batch_size=4,
    use_cpu=True,
    report_to=[],
    save_strategy="no",
    logging_steps=10,
    disable_tqdm=True,
)
trainer = LoggingTrainer(model=model, args=arguments, train_dataset=Sequences())
trainer.train()
print(f"{len(trainer.losses)} losses, the last is {trainer.losses[-1]:.4f}")
