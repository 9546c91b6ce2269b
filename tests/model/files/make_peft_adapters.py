"""Makes PEFT adapters over all options of LoraConfig, with the logits that PEFT gives.

    python3 make_peft_adapters.py OUT     # needs torch, peft, safetensors
    deno run -A tests/model/files/check_peft_adapters.ts OUT > docs/runs/peft_adapters.log

OUT/base/{tied,untied} are nanoVLM folders; OUT/NAME is an adapter with want.safetensors: ids,
pixels, the logits of a fresh base model with PeftModel.from_pretrained on top, and gradients. The modules have
nanoVLM's names and do what nanoVLM's do. An option that PEFT itself cannot load is listed in
OUT/skipped.json with its error.
"""
import json
import pathlib
import sys
import traceback
import warnings

import peft
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn import functional as F

warnings.filterwarnings("ignore")
CONFIG = {
    "vit_hidden_dim": 24, "vit_inter_dim": 40, "vit_patch_size": 8, "vit_img_size": 32,
    "vit_n_heads": 3, "vit_dropout": 0.0, "vit_n_blocks": 2, "vit_ln_eps": 1e-6,
    "vit_cls_flag": False, "vit_model_type": "tiny", "lm_hidden_dim": 32, "lm_inter_dim": 48,
    "lm_rms_eps": 1e-5, "lm_re_base": 100000, "lm_max_position_embeddings": 128,
    "lm_base_vocab_size": 90, "extra_token_amount": 1, "lm_vocab_size": 91, "lm_n_heads": 4,
    "lm_n_kv_heads": 2, "lm_dropout": 0.0, "lm_n_blocks": 3, "lm_attn_scaling": 1.0,
    "lm_max_length": 128, "lm_use_tokens": False, "lm_tie_weights": True, "lm_model_type": "tiny",
    "lm_tokenizer": "none", "lm_chat_template": "", "mp_pixel_shuffle_factor": 2,
    "mp_image_token_length": 4, "max_img_size": 32, "resize_to_max_side_len": False,
    "vlm_extra_tokens": {"image_token": "<|image|>"}, "vlm_load_backbone_weights": False,
    "vlm_checkpoint_path": "", "hf_repo_name": "tiny",
}
C, LC = CONFIG["vit_hidden_dim"], CONFIG["lm_hidden_dim"]
IMAGE = CONFIG["lm_base_vocab_size"]


class PatchEmbedding(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, C, CONFIG["vit_patch_size"], CONFIG["vit_patch_size"])
        self.position_embedding = nn.Parameter(torch.rand(1, 16, C))

    def forward(self, x):
        return self.conv(x).flatten(2).transpose(1, 2) + self.position_embedding


class VisionAttention(nn.Module):
    def __init__(self):
        super().__init__()
        self.qkv_proj, self.out_proj = nn.Linear(C, 3 * C), nn.Linear(C, C)

    def forward(self, x):
        B, T, _ = x.shape
        q, k, v = (t.view(B, T, 3, C // 3).transpose(1, 2) for t in self.qkv_proj(x).split(C, 2))
        return self.out_proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(B, T, C))


class VisionMLP(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(C, CONFIG["vit_inter_dim"]), nn.Linear(CONFIG["vit_inter_dim"], C)

    def forward(self, x):
        return self.fc2(F.gelu(self.fc1(x), approximate="tanh"))


class VisionBlock(nn.Module):
    def __init__(self):
        super().__init__()
        self.ln1, self.attn = nn.LayerNorm(C, eps=1e-6), VisionAttention()
        self.ln2, self.mlp = nn.LayerNorm(C, eps=1e-6), VisionMLP()

    def forward(self, x):
        x = x + self.attn(self.ln1(x))
        return x + self.mlp(self.ln2(x))


class VisionEncoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.patch_embedding = PatchEmbedding()
        self.blocks = nn.ModuleList(VisionBlock() for _ in range(2))
        self.layer_norm = nn.LayerNorm(C, eps=1e-6)

    def forward(self, x):
        x = self.patch_embedding(x)
        for block in self.blocks:
            x = block(x)
        return self.layer_norm(x)


class Projector(nn.Module):
    def __init__(self):
        super().__init__()
        self.proj = nn.Linear(4 * C, LC, bias=False)

    def forward(self, x):
        B = x.shape[0]
        x = x.view(B, 2, 2, 2, 2, C).permute(0, 1, 3, 2, 4, 5).reshape(B, 4, 4 * C)
        return self.proj(x)


class RMSNorm(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(LC))

    def forward(self, x):
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-5) * self.weight


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        linear = lambda outputs: nn.Linear(LC, outputs, bias=False)
        self.q_proj, self.k_proj, self.v_proj = linear(LC), linear(LC // 2), linear(LC // 2)
        self.out_proj = linear(LC)

    def forward(self, x, cos, sin):
        B, T, _ = x.shape
        D = LC // 4
        heads = lambda t: t.view(B, T, -1, D).transpose(1, 2)
        turn = lambda t: t * cos + torch.cat([-t[..., D // 2:], t[..., :D // 2]], -1) * sin
        q, k, v = turn(heads(self.q_proj(x))), turn(heads(self.k_proj(x))), heads(self.v_proj(x))
        k, v = k.repeat_interleave(2, 1), v.repeat_interleave(2, 1)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.out_proj(y.transpose(1, 2).reshape(B, T, LC))


class MLP(nn.Module):
    def __init__(self):
        super().__init__()
        inter = CONFIG["lm_inter_dim"]
        self.gate_proj, self.up_proj = nn.Linear(LC, inter, bias=False), nn.Linear(LC, inter, bias=False)
        self.down_proj = nn.Linear(inter, LC, bias=False)

    def forward(self, x):
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.mlp, self.attn, self.norm1, self.norm2 = MLP(), Attention(), RMSNorm(), RMSNorm()

    def forward(self, x, cos, sin):
        x = x + self.attn(self.norm1(x), cos, sin)
        return x + self.mlp(self.norm2(x))


class Decoder(nn.Module):
    def __init__(self, tie):
        super().__init__()
        V = CONFIG["lm_vocab_size"]
        self.token_embedding = nn.Embedding(V, LC)
        self.blocks = nn.ModuleList(Block() for _ in range(3))
        self.norm = RMSNorm()
        self.head = nn.Linear(LC, V, bias=False)
        if tie:
            self.head.weight = self.token_embedding.weight

    def forward(self, x):
        D = LC // 4
        inverse = 1.0 / (CONFIG["lm_re_base"] ** (torch.arange(0, D, 2).float() / D))
        angles = torch.arange(x.shape[1]).float()[:, None] * inverse
        angles = torch.cat([angles, angles], -1)
        for block in self.blocks:
            x = block(x, angles.cos(), angles.sin())
        return self.norm(x)


class VisionLanguageModel(nn.Module):
    def __init__(self, tie):
        super().__init__()
        self.vision_encoder, self.decoder, self.MP = VisionEncoder(), Decoder(tie), Projector()

    def forward(self, ids, pixels, **kwargs):
        embeddings = self.decoder.token_embedding(ids).clone()
        embeddings[ids == IMAGE] = self.MP(self.vision_encoder(pixels)).view(-1, LC)
        return self.decoder.head(self.decoder(embeddings))


OUT = pathlib.Path(sys.argv[1])


def base_model(tie):
    """The same weights each time."""
    torch.manual_seed(1 if tie else 2)
    model = VisionLanguageModel(tie)
    for name, parameter in model.named_parameters():
        std = 0.5 if "token_embedding" in name else 0.25
        if parameter.dim() > 1 and "position" not in name:
            nn.init.normal_(parameter, std=std)
        elif "bias" in name:
            nn.init.normal_(parameter, std=0.1)
    return model.eval()


torch.manual_seed(0)
PIXELS = torch.rand(1, 3, 32, 32)
IDS = torch.tensor([[IMAGE] * 4 + [5, 6, 7, 8, 9, 10, 40, 3, 88, 1]])


def save_base(tie):
    folder = OUT / "base" / ("tied" if tie else "untied")
    folder.mkdir(parents=True, exist_ok=True)
    weights = dict(base_model(tie).state_dict())
    if tie:
        del weights["decoder.token_embedding.weight"]
    save_file(weights, str(folder / "model.safetensors"), {"format": "pt"})
    (folder / "config.json").write_text(json.dumps({**CONFIG, "lm_tie_weights": tie}, indent=2))


DECODER = ["q_proj", "k_proj", "v_proj", "out_proj", "gate_proj", "up_proj", "down_proj"]
DOUBLE = {"path_initial_model_for_weight_conversion"}


def lora(**options):
    return {"r": 4, "lora_alpha": 8, "target_modules": ["q_proj", "v_proj"], **options}


ADAPTERS = {
    # Layers
    "qv": lora(),
    "decoder": lora(target_modules=DECODER),
    "vision": lora(target_modules=["qkv_proj", "fc1", "fc2"]),
    "projector": lora(target_modules=["MP.proj"]),
    "full_names": lora(target_modules=["decoder.blocks.1.attn.q_proj", "MP.proj"]),
    "head_tied": lora(target_modules=["head", "q_proj"]),
    "head_untied": (False, lora(target_modules=["head", "q_proj"])),
    "all_linear_tied": lora(target_modules="all-linear"),
    "all_linear_untied": (False, lora(target_modules="all-linear")),
    "regex": lora(target_modules=r"decoder\..*\.(q|v)_proj"),
    "regex_named_group": lora(target_modules=r"(?P<part>decoder|MP)\..*proj"),
    "regex_flags": lora(target_modules=r"(?i)DECODER\.blocks\.\d+\.attn\.q_proj"),
    "regex_end": lora(target_modules=r".*\.q_proj\Z"),
    "regex_range": lora(target_modules=r"decoder\.blocks\.[0-1]{,1}\.attn\.[^k]_proj"),
    "regex_lookbehind": lora(target_modules=r".*(?<!decoder\.blocks\.0\.attn)\.(q_proj|qkv_proj)"),
    "regex_comment": lora(target_modules=r".*(?#attention)\.v_proj"),
    "regex_possessive": lora(target_modules=r"decoder\.[a-z]++\.\d\.attn\.q_proj"),
    "exclude_list": lora(target_modules=["out_proj"], exclude_modules=["decoder.blocks.1.attn.out_proj"]),
    "exclude_regex": lora(target_modules=["out_proj"], exclude_modules=r"vision_encoder\..*"),
    "layers_list": lora(layers_to_transform=[0, 2]),
    "layers_one_pattern": lora(layers_to_transform=1, layers_pattern="blocks"),
    # Numbers
    "rank_1": lora(r=1, lora_alpha=1),
    "alpha_fraction": lora(lora_alpha=3),
    "rslora": lora(use_rslora=True),
    "rank_pattern": lora(rank_pattern={"q_proj": 2}),
    "alpha_pattern": lora(alpha_pattern={r"blocks\.0\.attn\.v_proj": 32}),
    "patterns_rslora": lora(target_modules=DECODER, use_rslora=True,
                            rank_pattern={"^decoder.*v_proj": 7, "gate_proj|up_proj": 3},
                            alpha_pattern={"down_proj": 5}),
    "dropout": lora(lora_dropout=0.3),
    "fan_in_fan_out": lora(fan_in_fan_out=True),
    # DoRA
    "dora": lora(use_dora=True, target_modules=DECODER),
    "dora_vision": lora(use_dora=True, target_modules=["qkv_proj", "fc1", "fc2", "proj"]),
    "dora_head_tied": lora(use_dora=True, target_modules=["head"]),
    "dora_all_untied": (False, lora(use_dora=True, target_modules="all-linear")),
    "dora_rslora": lora(use_dora=True, use_rslora=True, rank_pattern={"v_proj": 2}),
    # modules_to_save
    "save_head_tied": lora(modules_to_save=["head"]),
    "save_head_untied": (False, lora(modules_to_save=["head"])),
    "save_embedding_tied": lora(modules_to_save=["token_embedding"]),
    "save_embedding_untied": (False, lora(modules_to_save=["token_embedding"])),
    "save_both_tied": lora(modules_to_save=["token_embedding", "head"]),
    "save_projector": lora(modules_to_save=["MP"]),
    "save_norms": lora(modules_to_save=["norm1", "decoder.norm", "layer_norm"]),
    "save_vision": lora(modules_to_save=["vision_encoder"]),
    "save_decoder_tied": lora(target_modules=["fc1"], modules_to_save=["decoder"]),
    "save_patches": lora(modules_to_save=["patch_embedding"]),
    "save_suffix": lora(target_modules=["fc1"], modules_to_save=["q_proj"]),
    # Biases and other parameters
    "bias_all": lora(bias="all", target_modules=["fc1", "q_proj"]),
    "bias_lora_only": lora(bias="lora_only", target_modules=["fc1", "q_proj"]),
    "lora_bias": lora(lora_bias=True, target_modules=["fc1", "q_proj"]),
    "embedding": lora(target_modules=["token_embedding"]),
    "embedding_untied": (False, lora(target_modules=["token_embedding", "q_proj"])),
    "convolution": lora(target_modules=["conv"]),
    "convolution_dora": lora(target_modules=["conv"], use_dora=True),
    "token_indices": lora(trainable_token_indices={"token_embedding": [5, 6]}),
    "target_parameters": lora(target_modules=[], target_parameters=["q_proj.weight"]),
    "parameter_position": lora(target_parameters=["patch_embedding.position_embedding"]),
    "weight_tying": lora(modules_to_save=["head"], ensure_weight_tying=True),
    # Initializations
    "init_gaussian": lora(init_lora_weights="gaussian"),
    "init_false": lora(init_lora_weights=False),
    "init_orthogonal": lora(init_lora_weights="orthogonal"),
    "init_pissa": lora(init_lora_weights="pissa"),
    "init_pissa_niter": lora(init_lora_weights="pissa_niter_4"),
    "init_pissa_dora": lora(init_lora_weights="pissa", use_dora=True),
    "init_olora": lora(init_lora_weights="olora"),
    "init_loftq": lora(init_lora_weights="loftq", loftq_config={"loftq_bits": 4, "loftq_iter": 1}),
    "init_eva": lora(init_lora_weights="eva"),
    "init_corda": lora(init_lora_weights="corda"),
    "init_lora_ga": lora(init_lora_weights="lora_ga"),
    "pissa_converted": lora(init_lora_weights="pissa", convert=True),
    "olora_converted": lora(init_lora_weights="olora", convert=True),
    # Variants
    "qalora": lora(use_qalora=True),
    "alora": lora(alora_invocation_tokens=[9, 10]),
    "arrow": lora(arrow_config={}),
    "layer_replication": lora(layer_replication=[[0, 2], [1, 3]]),
    # Number types
    "bfloat16": lora(target_modules=DECODER, dtype=torch.bfloat16),
    "float16": lora(target_modules="all-linear", dtype=torch.float16),
}
# Options of newer PEFT, given as it defines them.
for name in ["kasa", "velora", "monteclora", "bdlora"]:
    field = "use_bdlora" if name == "bdlora" else f"{name}_config"
    kind = getattr(peft, {"kasa": "KasaConfig", "velora": "VeloraConfig", "monteclora":
                          "MontecloraConfig", "bdlora": "BdLoraConfig"}[name], None)
    if kind is None:
        import peft.tuners.lora.config as lora_config
        found = [k for k in vars(lora_config) if k.lower() == f"{name}config"]
        kind = getattr(lora_config, found[0]) if found else None
    if kind is not None:
        ADAPTERS[name] = lora(**{field: kind})
for name, options in {
    "IA3": {"target_modules": ["k_proj", "down_proj"], "feedforward_modules": ["down_proj"]},
    "LoHa": {"target_modules": ["q_proj"]}, "LoKr": {"target_modules": ["q_proj"]},
    "Vera": {"target_modules": ["q_proj"]}, "OFT": {"target_modules": ["q_proj"]},
}.items():
    ADAPTERS[f"method_{name}"] = (True, name, options)


def make(name, entry):
    tie, kind, options = True, "Lora", entry
    if isinstance(entry, tuple):
        tie, *rest = entry
        kind, options = rest if len(rest) == 2 else ("Lora", rest[0])
    options = {k: v() if isinstance(v, type) else v for k, v in options.items()}
    convert, dtype = options.pop("convert", False), options.pop("dtype", torch.float32)
    config = getattr(peft, f"{kind}Config")(**options)
    folder = OUT / name
    torch.manual_seed(7)
    model = get_peft_model(base_model(tie), config)
    if convert:
        model.peft_config["default"].init_lora_weights = True
        model.save_pretrained(str(folder / "initial"))
        model.peft_config["default"].init_lora_weights = options["init_lora_weights"]
    for key, parameter in model.named_parameters():
        if parameter.requires_grad:
            with torch.no_grad():
                scale = 0.05 if "modules_to_save" in key or convert else 0.2
                parameter.add_(scale * torch.randn(parameter.shape))
    if convert:
        model.save_pretrained(str(folder), path_initial_model_for_weight_conversion=str(folder / "initial"))
    else:
        model.save_pretrained(str(folder))
    if dtype != torch.float32:
        path = str(folder / "adapter_model.safetensors")
        save_file({k: v.to(dtype) for k, v in load_file(path).items()}, path, {"format": "pt"})
    loaded = PeftModel.from_pretrained(base_model(tie), str(folder)).eval()
    extra = {"alora_offsets": [3]} if name == "alora" else {}
    with torch.no_grad():
        logits = loaded(IDS, PIXELS, **extra)[0]
        bare = base_model(tie)(IDS, PIXELS)[0]
    tensors = {"ids": IDS.int(), "pixels": PIXELS, "logits": logits.contiguous(), "bare": bare}
    # Gradients of the next-token loss over the text, for A, B and magnitudes.
    trained = PeftModel.from_pretrained(base_model(tie), str(folder), is_trainable=True).eval()
    loss = F.cross_entropy(trained(IDS, PIXELS, **extra)[0, 4:-1], IDS[0, 5:])
    loss.backward()
    for key, parameter in trained.named_parameters():
        if "lora_" in key and parameter.grad is not None:
            tensors["gradient." + key.replace("base_model.model.", "").replace(".default", "")] = (
                parameter.grad.contiguous())
    save_file(tensors, str(folder / "want.safetensors"))
    (folder / "base.txt").write_text("tied" if tie else "untied")


for tie in [True, False]:
    save_base(tie)
skipped = {}
for name, entry in ADAPTERS.items():
    try:
        make(name, entry)
    except Exception as error:  # an option that PEFT refuses on this model
        skipped[name] = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
        if "-v" in sys.argv:
            traceback.print_exc()
versions = {"peft": peft.__version__, "torch": torch.__version__}
(OUT / "skipped.json").write_text(json.dumps({"versions": versions, "skipped": skipped}, indent=2))
print(len(ADAPTERS) - len(skipped), "adapters;", "skipped:", json.dumps(skipped, indent=1))
