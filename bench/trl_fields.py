"""Records the own fields of TRL's config classes, and their defaults, into docs/trl_fields.json.

    python -m venv venv && venv/bin/pip install trl==1.10.0 torch==2.13.0 requests
    venv/bin/python bench/trl_fields.py
"""

import json
from dataclasses import MISSING, fields
from importlib.metadata import version
from pathlib import Path

from trl.experimental.gkd import GKDConfig
from trl.trainer.dpo_config import DPOConfig
from trl.trainer.grpo_config import GRPOConfig
from trl.trainer.kto_config import KTOConfig
from trl.trainer.rloo_config import RLOOConfig
from trl.trainer.sft_config import SFTConfig


def own(config):
    """Own fields with their defaults."""
    all_fields = {field.name: field for field in fields(config)}
    own_fields = [all_fields[name] for name in config.__annotations__ if name in all_fields]
    return {
        field.name: field.default_factory() if field.default is MISSING else field.default
        for field in own_fields
    }


classes = [GRPOConfig, DPOConfig, SFTConfig, KTOConfig, RLOOConfig, GKDConfig]
record = {"trl": version("trl")} | {config.__name__: own(config) for config in classes}
path = Path(__file__).parent.parent / "docs" / "trl_fields.json"
path.write_text(json.dumps(record, indent=1) + "\n")
print({name: len(value) for name, value in record.items() if name != "trl"})
