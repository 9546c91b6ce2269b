"""Loads a SmolVLM folder with Transformers and compares it with what this project computed.

usage: transformers_interop.py FOLDER RECORD.json [ADAPTER]

RECORD.json has the conversation, the picture files, and this project's ids; RECORD.safetensors beside
it has pixel_values and logits. Prints one JSON object with the largest differences.
"""

import json
import sys

import torch
from peft import PeftModel
from PIL import Image
from safetensors.torch import load_file
from transformers import AutoModelForImageTextToText, AutoProcessor, AutoTokenizer


def open_processor(folder):
    """AutoProcessor with Pillow, which resizes as the models were trained; torchvision does not.

    SmolVLM's needs torchvision and num2words for its videos, and Idefics3's is the same without.
    """
    try:
        return AutoProcessor.from_pretrained(folder, use_fast=False)
    except ImportError:
        from transformers.models.idefics3 import processing_idefics3
        try:
            from transformers.models.idefics3.image_processing_pil_idefics3 import (
                Idefics3ImageProcessorPil as ImageProcessor,
            )
        except ImportError:
            from transformers.models.idefics3.image_processing_idefics3 import (
                Idefics3ImageProcessor as ImageProcessor,
            )
        with open(f"{folder}/processor_config.json") as file:
            seq_len = json.load(file)["image_seq_len"]
        tokenizer = AutoTokenizer.from_pretrained(folder)
        return processing_idefics3.Idefics3Processor(
            image_processor=ImageProcessor.from_pretrained(folder),
            tokenizer=tokenizer,
            image_seq_len=seq_len,
            chat_template=tokenizer.chat_template,
        )


def main(folder, record_path, adapter=None):
    with open(record_path) as file:
        record = json.load(file)
    ours = load_file(record_path.replace(".json", ".safetensors"))
    model = AutoModelForImageTextToText.from_pretrained(folder, attn_implementation="eager")
    if adapter:
        model = PeftModel.from_pretrained(model, adapter)
    model.eval()
    processor = open_processor(folder)
    text = processor.apply_chat_template(record["messages"], add_generation_prompt=True)
    pictures = [Image.open(path).convert("RGB") for path in record["pictures"]]
    inputs = processor(text=text, images=pictures or None, return_tensors="pt")
    with torch.no_grad():
        logits = model(
            input_ids=inputs["input_ids"], pixel_values=inputs.get("pixel_values")
        ).logits[0]
    print(json.dumps({
        "transformers": __import__("transformers").__version__,
        "processor": type(processor).__name__,
        "dtype": str(model.dtype),
        "same_ids": inputs["input_ids"][0].tolist() == record["input_ids"],
        "pixels": (inputs["pixel_values"][0] - ours["pixel_values"]).abs().max().item(),
        "logits": (logits - ours["logits"]).abs().max().item(),
    }))


main(*sys.argv[1:])
