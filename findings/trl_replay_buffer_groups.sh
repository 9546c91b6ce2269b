#!/usr/bin/env bash
# TRL 1.10's GRPOWithReplayBufferTrainer documents that a group whose rewards are all equal "is replaced
# with a group sampled from the replay buffer". With several prompts in a batch it replaces none: it
# looks for the spread of the whole batch, so that groups of equal rewards keep advantages of 0 while
# any other group has spread. And it keeps one entry a batch, the first group, whose score is the sum
# over all groups.
#
# Exits 0 while the behaviour is as described, 1 when it changes.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cat > "$work/replay.py" <<'PY'
import os, sys

os.environ["TRL_EXPERIMENTAL_SILENCE"] = "1"
import torch
import trl
from datasets import Dataset
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
from trl.experimental.grpo_with_replay_buffer import GRPOWithReplayBufferConfig, GRPOWithReplayBufferTrainer

words = ["<pad>", "<eos>", "<unk>"] + [f"w{i}" for i in range(29)]
backend = Tokenizer(models.WordLevel({w: i for i, w in enumerate(words)}, unk_token="<unk>"))
backend.pre_tokenizer = pre_tokenizers.Whitespace()
tokenizer = PreTrainedTokenizerFast(
    tokenizer_object=backend, pad_token="<pad>", eos_token="<eos>", unk_token="<unk>"
)
torch.manual_seed(0)
sizes = dict(vocab_size=32, hidden_size=16, intermediate_size=32, num_hidden_layers=1)
heads = dict(num_attention_heads=2, num_key_value_heads=2)
model = LlamaForCausalLM(LlamaConfig(**sizes, **heads, pad_token_id=0, eos_token_id=1, bos_token_id=1))
calls = 0


def reward(prompts, completions, **_):
    """Rewards of the prompt w1 differ, in every call otherwise; those of other prompts are equal."""
    global calls
    calls += 1
    seen, rewards = {}, []
    for prompt in prompts:
        seen[prompt] = seen.get(prompt, 0) + 1
        rewards.append(seen[prompt] ** 2 * (1 + 0.1 * calls) if prompt == "w1" else 0.5)
    return rewards


class Watched(GRPOWithReplayBufferTrainer):
    def _generate_and_score_completions(self, inputs):
        made = super()._generate_and_score_completions(inputs)
        equal = [a for x, a in zip(inputs, made["advantages"].tolist()) if x["prompt"] != "w1"]
        print("kept", len(self.replay_buffer.heap), "advantages of equal groups", equal)
        return made


args = GRPOWithReplayBufferConfig(
    output_dir=sys.argv[1], replay_buffer_size=8, num_generations=2, per_device_train_batch_size=8,
    max_completion_length=3, max_steps=3, report_to=[], use_cpu=True, logging_strategy="no",
    save_strategy="no", disable_tqdm=True, shuffle_dataset=False,
)
rows = Dataset.from_dict({"prompt": ["w1", "w2", "w1", "w3"] * 4})
print("trl", trl.__version__)
Watched(args=args, model=model, reward_funcs=reward, train_dataset=rows, processing_class=tokenizer).train()
PY
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check \
  trl==1.10.0 torch==2.13.0 transformers==5.24.0 accelerate==1.15.0 requests 2> /dev/null
found=$("$work/venv/bin/python" "$work/replay.py" "$work/run" 2> /dev/null | grep -E '^(trl|kept)')
printf '%s\n' "$found"
zeros="advantages of equal groups [0.0, 0.0, 0.0, 0.0]"
[ "$found" = "trl 1.10.0
kept 1 $zeros
kept 2 $zeros
kept 3 $zeros" ]
