"""Records 20 AdamW steps of Transformers' Trainer on a small SmolVLM, for trainer_trajectory_test.ts.

usage: trainer_trajectory.py FIXTURES OUT.json

FIXTURES is the fixtures folder (its smolvlm/ is used). Run with the release that saved the model there
(transformers 4.57.6), since releases differ in the positions of patches.
"""

import json
import sys

import torch
import transformers
from safetensors.torch import load_file
from torch.utils.data import SequentialSampler
from transformers import AutoModelForImageTextToText, Trainer, TrainingArguments

STEPS, BATCH, ACCUMULATION = 20, 2, 2


class Cases(torch.utils.data.Dataset):
    """The recorded conversations, over and over, in an order that mixes them."""

    def __init__(self, folder):
        with open(f"{folder}/smolvlm.json") as file:
            self.cases = json.load(file)["cases"]
        self.tensors = load_file(f"{folder}/smolvlm.safetensors")
        count = STEPS * BATCH * ACCUMULATION
        self.order = [(3 * i + i // 5) % len(self.cases) for i in range(count)]

    def __len__(self):
        return len(self.order)

    def __getitem__(self, i):
        case = self.order[i]
        return {
            "input_ids": self.cases[case]["input_ids"],
            "labels": self.cases[case]["labels"],
            "pixel_values": self.tensors.get(f"case{case}.pixel_values"),
        }


def collate(rows):
    """Pads on the right; tiles that are all 0 are dropped by the model."""
    longest = max(len(row["input_ids"]) for row in rows)
    pictures = [row["pixel_values"] for row in rows if row["pixel_values"] is not None]
    batch = {
        name: torch.tensor([row[name] + [pad] * (longest - len(row[name])) for row in rows])
        for name, pad in (("input_ids", 2), ("labels", -100))
    }
    batch["attention_mask"] = torch.tensor(
        [[1] * len(row["input_ids"]) + [0] * (longest - len(row["input_ids"])) for row in rows]
    )
    if pictures:
        most = max(len(tiles) for tiles in pictures)
        tiles = torch.zeros(len(rows), most, *pictures[0].shape[1:])
        for i, row in enumerate(rows):
            if row["pixel_values"] is not None:
                tiles[i, : len(row["pixel_values"])] = row["pixel_values"]
        batch["pixel_values"] = tiles
    return batch


class InOrder(Trainer):
    def _get_train_sampler(self, dataset=None):
        return SequentialSampler(dataset if dataset is not None else self.train_dataset)

    def training_step(self, *args, **kwargs):
        loss = super().training_step(*args, **kwargs)
        self.micro_losses = getattr(self, "micro_losses", []) + [loss.item()]
        return loss


def main(fixtures, out):
    folder = f"{fixtures}/smolvlm"
    torch.manual_seed(0)
    torch.set_num_threads(1)
    model = AutoModelForImageTextToText.from_pretrained(
        f"{folder}/smolvlm", attn_implementation="eager", dtype=torch.float32
    )
    data = Cases(folder)
    trainer = InOrder(
        model=model,
        args=TrainingArguments(
            output_dir="/tmp/trainer_trajectory", max_steps=STEPS, learning_rate=1e-3,
            weight_decay=0.05, lr_scheduler_type="cosine", warmup_steps=4, max_grad_norm=1.0,
            per_device_train_batch_size=BATCH, gradient_accumulation_steps=ACCUMULATION,
            logging_steps=1, save_strategy="no", report_to=[], use_cpu=True,
            remove_unused_columns=False, dataloader_num_workers=0, disable_tqdm=True,
        ),
        train_dataset=data,
        data_collator=collate,
    )
    decayed = sorted(trainer.get_decay_parameter_names(model))
    trainer.train()
    logs = [log for log in trainer.state.log_history if "loss" in log]
    micro = trainer.micro_losses
    weights = {name: tensor.detach() for name, tensor in model.named_parameters()}
    record = {
        "transformers": transformers.__version__,
        "torch": torch.__version__,
        "order": data.order,
        "batch": BATCH,
        "accumulation": ACCUMULATION,
        "learning_rate": 1e-3,
        "weight_decay": 0.05,
        "warmup_steps": 4,
        "decayed": decayed,
        "steps": [
            {
                # training_step() returns each micro-batch's share of the step's loss.
                "loss": sum(micro[i * ACCUMULATION : (i + 1) * ACCUMULATION]),
                "grad_norm": float(log["grad_norm"]),
                "learning_rate": log["learning_rate"],
            }
            for i, log in enumerate(logs)
        ],
        # A few numbers of each weight: its norm, and three elements.
        "final": {
            name: [tensor.norm().item()]
            + [tensor.flatten()[i].item() for i in (0, tensor.numel() // 2, -1)]
            for name, tensor in weights.items()
        },
    }
    with open(out, "w") as file:
        json.dump(record, file, indent=1)
        file.write("\n")
    print([round(step["loss"], 4) for step in record["steps"]], len(logs), len(micro))


main(*sys.argv[1:])
