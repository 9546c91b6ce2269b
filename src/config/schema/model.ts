/**
 * The section `model` of the YAML.
 *
 * @module
 */
import type { LoraSection, ModelSection } from "../types/config_types.ts";
import { LAB_MAIN, PEFT_LORA } from "../sources.ts";
import { either, group, listOf } from "../types/composite_types.ts";
import { boolean, integer, number, oneOf, text } from "../types/scalar_types.ts";
import { required, same, type Table } from "../types/value_type.ts";
import { vlmConfigKeys } from "./vlm_config.ts";

/** The modules that LoRA wraps by default, as NanoVLM-Lab lists them. */
const TARGET_MODULES = [
  "down_proj",
  "o_proj",
  "k_proj",
  "q_proj",
  "gate_proj",
  "up_proj",
  "v_proj",
];

/** The keys of `model.lora_config`. */
export const loraKeys: Table<LoraSection> = {
  r: {
    type: integer({ min: 1 }),
    default: same(16),
    source: LAB_MAIN,
    meaning: "Rank of the adapter.",
  },
  lora_alpha: {
    type: number({ above: 0 }),
    default: same(16),
    source: LAB_MAIN,
    meaning: "The adapter's output is scaled by `lora_alpha / r` (`/ sqrt(r)` under `use_rslora`).",
  },
  lora_dropout: {
    type: number({ min: 0, below: 1 }),
    default: same(0.1),
    source: LAB_MAIN,
    meaning: "Dropout on the adapter's input while training.",
  },
  target_modules: {
    type: either(text(), listOf(text(), { min: 1 })),
    default: same<string | string[]>(TARGET_MODULES),
    source: LAB_MAIN,
    meaning:
      "Names of the linear layers to wrap, by PEFT's rule: a list matches the ends of module " +
      "names, one string is a regular expression over whole names. nanoVLM calls its attention " +
      "output `out_proj`; `o_proj` matches nothing there, which gets a warning.",
  },
  use_dora: {
    type: boolean(),
    default: same(false),
    source: LAB_MAIN,
    meaning: "DoRA: a magnitude vector beside the low-rank direction.",
  },
  use_rslora: {
    type: boolean(),
    default: same(false),
    source: PEFT_LORA,
    meaning: "Rank-stabilised scaling, `lora_alpha / sqrt(r)`.",
  },
  init_lora_weights: {
    type: oneOf([true, false, "gaussian"]),
    default: same<boolean | "gaussian">("gaussian"),
    source: LAB_MAIN,
    meaning:
      "How A begins: `gaussian` (std 1/r), `true` (Kaiming uniform); B is zero. `false` makes " +
      "both random, for tests.",
  },
};

/** The keys of `model`. */
export const modelKeys: Table<ModelSection> = {
  model_name_or_path: {
    type: text("a folder, a Hub id or `initialize`"),
    default: required,
    source: LAB_MAIN,
    meaning: "A nanoVLM folder, a Hub id, or `initialize` for a fresh model out of `vlm_config`.",
    advice: {
      range: "a folder, a Hub id, or `initialize`",
      choose:
        "`HuggingFaceTB/SmolVLM-256M-Instruct` for sentences and for reading text; `initialize` for short answers about simple pictures, with thousands of rows; the folder of an SFT run for DPO and GRPO.",
    },
  },
  initialize_from_config: {
    type: boolean(),
    default: same(false),
    source: LAB_MAIN,
    meaning: "The same as `model_name_or_path: initialize`.",
  },
  load_backbone: {
    type: boolean(),
    default: same(true),
    source: LAB_MAIN,
    meaning:
      "For a fresh model: take the weights of `vit_model_type` and `lm_model_type`; `false` " +
      "draws all of them from the seed.",
  },
  vlm_config: {
    type: group(vlmConfigKeys, { filled: false }),
    default: same({}),
    source: LAB_MAIN,
    meaning: "The architecture of a fresh model; keys that are absent are nanoVLM's defaults.",
  },
  init_position_embedding: {
    type: oneOf(["uniform", "normal", "sincos"]),
    default: same("uniform" as const),
    source: "nanoVLM `vision_transformer.py`",
    meaning: "Position embeddings of a fresh ViT. `uniform`: 0 to 1, as nanoVLM draws them; in " +
      "an untrained ViT they outweigh the pixels. `normal`: std 0.02, and a patch convolution that " +
      "takes pixels as -1 to 1, std 1/sqrt(fan-in); `sincos`: as `normal`, with sines and cosines " +
      "of the place, so that a small ViT learns places and counts much earlier. Ours.",
  },
  initializer_range: {
    type: number({ above: 0 }),
    default: same(0.02),
    source: "nanoVLM `_init_weights`; Transformers' name for it",
    meaning: "std of the fresh linear layers and embeddings. A narrow model trained from scratch " +
      "learns faster with about 1/sqrt(width). Ours.",
  },
  model_type: {
    type: oneOf(["nanovlm"]),
    default: same("nanovlm" as const),
    source: "NanoVLM-Lab `configs/`",
    meaning: "There is one kind.",
  },
  load_in_8bit: {
    type: boolean(),
    default: same(false),
    source: "Transformers `BitsAndBytesConfig`",
    meaning:
      "Under `use_lora`: round the frozen matrices of linear layers to 8 bits with a scale for each " +
      "32 numbers as they are loaded (1.125 bytes a weight). Embedding, head and what trains keep " +
      "their bits; adapters are saved as ever and merge into the model as its files have it.",
  },
  use_lora: {
    type: boolean(),
    default: same(false),
    source: LAB_MAIN,
    meaning:
      "Train an adapter in place of the decoder's weights. Frozen matrices (the decoder's; the vision " +
      "encoder's and the projector's if their learning rate is 0) stay in 16 bits if the file has " +
      "bfloat16 or float16, or float32 values that 16 bits express exactly: half the memory, and " +
      "nothing is rounded. Other float32 matrices stay float32; but `bf16` and `fp16` round them at " +
      "each use, so those of linear layers are then rounded once, in advance (not with DoRA).",
    advice: {
      range: "`true` above some 50 million parameters",
      choose:
        "Half the time and a quarter of the memory of training everything, and a small adapter as the result. `false` for a model from scratch.",
    },
  },
  lora_config: {
    type: group(loraKeys),
    default: same({
      r: 16,
      lora_alpha: 16,
      lora_dropout: 0.1,
      target_modules: TARGET_MODULES,
      use_dora: false,
      use_rslora: false,
      init_lora_weights: "gaussian" as const,
    }),
    source: LAB_MAIN,
    meaning: "The adapter; read only under `use_lora`.",
  },
};
