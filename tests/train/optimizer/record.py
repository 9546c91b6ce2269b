"""Records steps of the real packages' optimizers into optimizers.json.

    python -m venv venv
    venv/bin/pip install torch==2.13.0 transformers==5.24.0 schedulefree==1.4.1 bitsandbytes==0.50.2
    venv/bin/python tests/train/optimizer/record.py

Weights and gradients come from integers (`drawn`), so that the record holds results alone.
"""

import base64
import json
from importlib.metadata import version
from pathlib import Path

import bitsandbytes as bnb
import bitsandbytes.backends.cpu.ops as bnb_cpu
import schedulefree
import torch
from bitsandbytes.functional import create_dynamic_map
from transformers.optimization import Adafactor

SHAPES = [[6, 4], [3, 5], [7], [2, 3, 2, 2]]
MATRICES = [[6, 4], [3, 5], [4, 4]]
BLOCKS = [[9, 60], [70]]
RATES = [0.01, 0.02, 0.005, 0.0, 0.01]
MAX_NORM = 0.75
BETAS = (0.9, 0.99)


def drawn(shape, seed, spread=0):
    """Exact in float32; the same numbers as `drawn()` of optimizers_test.ts."""
    count = torch.Size(shape).numel()
    values = [((i * 7919 + seed * 104729) % 1009 / 1024 - 0.5) / 2 ** (i % (spread + 1)) for i in range(count)]
    return torch.tensor(values, dtype=torch.float32).reshape(shape)


def packed(tensor):
    """Its bytes: float32, or uint8 for codes."""
    kind = torch.uint8 if tensor.dtype == torch.uint8 else torch.float32
    return base64.b64encode(tensor.detach().to(kind).contiguous().numpy().tobytes()).decode()


def record(make, shapes, rates=RATES, states=(), spread=0, switch_at=None):
    """Weights after each step (of large parameters: after the last), and the state after the last."""
    parameters = [torch.nn.Parameter(drawn(shape, 1 + k)) for k, shape in enumerate(shapes)]
    optimizer = make(parameters)
    if hasattr(optimizer, "train"):
        optimizer.train()
    weights = []
    for step, rate in enumerate(rates):
        for k, parameter in enumerate(parameters):
            parameter.grad = drawn(parameter.shape, 100 * (step + 1) + k, spread)
        torch.nn.utils.clip_grad_norm_(parameters, MAX_NORM)
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.step()
        if step == switch_at:
            optimizer.eval()
            optimizer.train()
        last = step == len(rates) - 1
        weights.append([packed(p) if last or p.numel() < 300 else None for p in parameters])
    found = {
        name: [packed(optimizer.state[p][name]) if name in optimizer.state[p] else None for p in parameters]
        for name in states
    }
    result = {"shapes": shapes, "rates": rates, "spread": spread, "weights": weights, "states": found}
    if hasattr(optimizer, "eval"):
        optimizer.eval()
        result["averages"] = [packed(parameter) for parameter in parameters]
    return result


def muon(**options):
    return lambda parameters: torch.optim.Muon(parameters, weight_decay=0.1, **options)


def in_float32(function):
    """Muon's iteration without its bfloat16: the same code on float32."""
    original = torch.Tensor.bfloat16
    torch.Tensor.bfloat16 = lambda self: self.clone()
    try:
        return function()
    finally:
        torch.Tensor.bfloat16 = original


def nearest_codes(values, code, absmax_out, codes_out, blocksize):
    """bitsandbytes' own `default` quantizer: the nearest code, as on a GPU.

    Its CPU quantizer rounds through a table of 65536 even steps, which loses what is below 1.5e-5 of
    a block's largest value.
    """
    key = torch.DispatchKey.CompositeExplicitAutograd
    codes, absmax = torch.ops.bitsandbytes.quantize_blockwise.default._op_dk(key, values, code, blocksize)
    codes_out.copy_(codes)
    absmax_out.copy_(absmax)


def main():
    bnb_cpu._quant_blockwise_fp32_direct = nearest_codes
    adam = {"betas": BETAS, "eps": 1e-6, "weight_decay": 0.1}
    eight_bit_states = ["state1", "state2", "absmax1", "absmax2"]
    cases = {
        "adamw_torch": record(lambda p: torch.optim.AdamW(p, **adam), SHAPES, states=["exp_avg", "exp_avg_sq"]),
        "lion_32bit": record(
            lambda p: bnb.optim.Lion(p, betas=BETAS, weight_decay=0.1), SHAPES, states=["state1"]
        ),
        "adafactor": record(
            lambda p: Adafactor(p, lr=1, weight_decay=0.1, scale_parameter=False, relative_step=False),
            SHAPES,
            states=["exp_avg_sq", "exp_avg_sq_row", "exp_avg_sq_col"],
        ),
        "adafactor scaled": record(
            lambda p: Adafactor(
                p, lr=1, weight_decay=0.1, scale_parameter=True, relative_step=False,
                clip_threshold=0.5, decay_rate=-0.6,
            ),
            SHAPES,
        ),
        "schedule_free_adamw": record(
            lambda p: schedulefree.AdamWScheduleFree(p, warmup_steps=3, foreach=False, **adam),
            SHAPES,
            rates=[0.01, 0.02, 0.005, 0.01, 0.01],
            states=["z", "exp_avg_sq"],
            switch_at=1,
        ),
        "schedule_free_adamw weighted": record(
            lambda p: schedulefree.AdamWScheduleFree(p, r=1.5, weight_lr_power=1, foreach=False, **adam), SHAPES
        ),
        "adamw_bnb_8bit": record(
            lambda p: bnb.optim.AdamW8bit(p, min_8bit_size=0, **adam), BLOCKS, states=eight_bit_states, spread=12
        ),
        "lion_8bit": record(
            lambda p: bnb.optim.Lion8bit(p, betas=BETAS, weight_decay=0.1, min_8bit_size=0),
            BLOCKS,
            states=["state1", "absmax1"],
            spread=12,
        ),
    }
    for adjustment in ["original", "match_rms_adamw"]:
        for nesterov in [True, False]:
            options = {"adjust_lr_fn": adjustment, "nesterov": nesterov, "momentum": 0.9}
            name = f"muon {adjustment}{' nesterov' if nesterov else ''}"
            cases[name] = in_float32(lambda: record(muon(**options), MATRICES, states=["momentum_buffer"]))
    cases["muon bfloat16"] = record(muon(adjust_lr_fn="match_rms_adamw", momentum=0.9), MATRICES)
    packages = ["torch", "transformers", "schedulefree", "bitsandbytes"]
    result = {
        "versions": {name: version(name) for name in packages},
        "options": {"betas": BETAS, "eps": 1e-6, "weight_decay": 0.1, "max_norm": MAX_NORM},
        "maps": {
            "signed": packed(create_dynamic_map(signed=True)),
            "unsigned": packed(create_dynamic_map(signed=False)),
        },
        "cases": cases,
    }
    path = Path(__file__).with_name("optimizers.json")
    path.write_text(json.dumps(result) + "\n")
    print(path, path.stat().st_size, "bytes")


main()
