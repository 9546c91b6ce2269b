"""The Python side of python_interop_test.ts: argv[1] is what to do, argv[2:] are paths.

No nanoVLM is needed: modules are made after the names in the weights file, so that PEFT finds the
same layers under the same names.
"""
import json
import sys

import torch
from safetensors.torch import load_file, save_file


def build(tensors):
    """A module tree with a Linear for each matrix called weight, a parameter for anything else."""
    root = torch.nn.Module()
    for name, value in tensors.items():
        *path, leaf = name.split(".")
        parent = root
        for i, part in enumerate(path):
            if part not in parent._modules:
                last = i == len(path) - 1
                weight = tensors.get(".".join(path) + ".weight")
                bias = tensors.get(".".join(path) + ".bias")
                if last and weight is not None and weight.dim() == 2:
                    child = torch.nn.Linear(weight.shape[1], weight.shape[0], bias is not None)
                else:
                    child = torch.nn.Module()
                parent.add_module(part, child)
            parent = parent._modules[part]
        parent.register_parameter(leaf, torch.nn.Parameter(value.clone()))
    root.forward = lambda *a, **k: None
    return root


def names_of(model):
    return {k: v for k, v in model.state_dict().items()}


command = sys.argv[1]
if command == "write":
    torch.manual_seed(0)
    save_file(
        {
            "f32": torch.randn(3, 5),
            "f16": torch.randn(7).half(),
            "bf16": torch.randn(7).bfloat16(),
            "i64": torch.tensor([-1, 2**40]),
            "u8": torch.tensor([0, 255], dtype=torch.uint8),
            "flag": torch.tensor([True, False]),
            "scalar": torch.tensor(1.5),
            "empty": torch.zeros(0, 4),
        },
        sys.argv[2],
        {"format": "pt"},
    )
    wide = {k: v.double().flatten().tolist() for k, v in load_file(sys.argv[2]).items()}
    json.dump(wide, open(sys.argv[3], "w"))
elif command == "compare":  # both files hold the same tensors, bit for bit
    ours, theirs = load_file(sys.argv[2]), load_file(sys.argv[3])
    assert ours.keys() == theirs.keys(), (ours.keys(), theirs.keys())
    for name, value in theirs.items():
        assert ours[name].dtype == value.dtype and torch.equal(ours[name], value), name
elif command == "merge":  # base model, adapter folder, merged file to write
    from peft import PeftModel

    model = PeftModel.from_pretrained(build(load_file(sys.argv[2])), sys.argv[3])
    merged = model.merge_and_unload()
    tensors = {k: v.contiguous() for k, v in names_of(merged).items()}
    save_file(tensors, sys.argv[4])
elif command == "adapter":  # base model, config as JSON, folder to write
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(1)
    model = get_peft_model(build(load_file(sys.argv[2])), LoraConfig(**json.loads(sys.argv[3])))
    for name, value in model.named_parameters():
        if "lora_" in name or "modules_to_save" in name:
            value.data = torch.randn_like(value) * 0.1 + (1 if "magnitude" in name else 0)
    model.save_pretrained(sys.argv[4])
elif command == "logits":  # Transformers' logits of a text: model folder, text, tokens, file
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(sys.argv[2], dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(sys.argv[2])
    ids = tokenizer(sys.argv[3], return_tensors="pt").input_ids[:, : int(sys.argv[4])]
    with torch.no_grad():
        logits = model(ids).logits
    save_file({"input_ids": ids.int().contiguous(), "logits": logits.contiguous()}, sys.argv[5])
elif command == "vlm_config":  # VLMConfig(**json) takes exactly its own keys, nothing else
    known = json.load(open(sys.argv[3]))
    config = json.load(open(sys.argv[2]))
    assert config.keys() == known.keys(), config.keys() ^ known.keys()
    for key, value in known.items():
        assert type(config[key]) is type(value), (key, config[key], value)
else:
    raise SystemExit(f"unknown command {command}")
