/**
 * What becomes of the keys of TRL's config classes that are no keys here under the same name, in the
 * sections `sft`, `dpo` and `grpo`: some belong to another section, some ask for what is done in
 * any case, some concern what is not there (vLLM, Python), and some are not supported.
 *
 * docs/trl_keys.md has the keys that are here too. To add one: its entry here, or its key in the
 * section's table, then `deno task config-docs`.
 *
 * @module
 */
import type { TrainingType } from "../types/config_types.ts";

/** What becomes of a key. */
export type TrlKey =
  /** Read as a key of another section. */
  | { readonly kind: "moved"; readonly to: string }
  /** These values ask for what is done in any case; `why` says what that is. */
  | { readonly kind: "fixed"; readonly values: readonly Scalar[]; readonly why: string }
  /** Says the same as a key here, each value as one of that key's; null: nothing but the default. */
  | {
    readonly kind: "translated";
    readonly to: string;
    readonly values: readonly (readonly [given: Scalar, meant: Scalar])[];
    readonly why: string;
    /** A key of TRL beside it with a value that decides instead. */
    readonly overruledBy?: readonly [name: string, value: Scalar];
  }
  /** Decides nothing here, whatever its value. */
  | { readonly kind: "plumbing"; readonly why: string }
  /** Not supported, but for values that turn it off: null, and those of `off`. */
  | { readonly kind: "missing"; readonly instead: string; readonly off?: readonly Scalar[] };

type Scalar = string | number | boolean | null;

const moved = (to: string): TrlKey => ({ kind: "moved", to });
const plumbing = (why: string): TrlKey => ({ kind: "plumbing", why });
const fixed = (values: readonly Scalar[], why: string): TrlKey => ({ kind: "fixed", values, why });
const missing = (instead: string, off: readonly Scalar[] = []): TrlKey => ({
  kind: "missing",
  instead,
  off,
});

const VLLM = plumbing("completions are sampled by this library, not by vLLM");
const PYTHON = plumbing("no Python model is loaded");
const CONTINUOUS = plumbing("completions are sampled by this library, not by Transformers");
const NO_PADDING = plumbing("rows are joined without padding");

/** Keys of every trainer. */
const SHARED: Readonly<Record<string, TrlKey>> = {
  learning_rate: moved("training.learning_rate"),
  max_length: moved("training.max_seq_length"),
  model_init_kwargs: PYTHON,
  trust_remote_code: PYTHON,
  router_aux_loss_coef: plumbing("the models have no experts"),
  dataset_num_proc: plumbing("pictures are decoded by training.dataloader_num_workers threads"),
  pad_to_multiple_of: NO_PADDING,
  padding_free: NO_PADDING,
  pad_token: plumbing("padding is never computed on; the tokenizer's own token is saved"),
  activation_offloading: plumbing("training.gradient_checkpointing saves more"),
  truncation_mode: fixed(["keep_start"], "answers lose their end, prompts nothing"),
  shuffle_dataset: fixed([true, false], "rows are shuffled by training.seed in every epoch"),
  use_liger_kernel: plumbing("logits are computed in chunks in any case"),
};

const GENERATION: Readonly<Record<string, TrlKey>> = {
  cast_lm_head_to_fp32: plumbing("log-probabilities are float32 in any case"),
  remove_unused_columns: fixed([false], "every column reaches the reward functions"),
  ds3_gather_for_generation: plumbing("DeepSpeed is not used"),
  chat_template_kwargs: missing("edit chat_template in tokenizer_config.json"),
  cache_implementation: plumbing("there is one cache of keys and values"),
  use_vllm: VLLM,
  vllm_mode: VLLM,
  vllm_model_impl: VLLM,
  vllm_enable_sleep_mode: VLLM,
  vllm_structured_outputs_regex: missing("a reward module can score the format"),
  vllm_server_base_url: VLLM,
  vllm_server_host: VLLM,
  vllm_server_port: VLLM,
  vllm_server_timeout: VLLM,
  vllm_group_port: VLLM,
  vllm_gpu_memory_utilization: VLLM,
  vllm_max_model_length: VLLM,
  vllm_tensor_parallel_size: VLLM,
  vllm_importance_sampling_correction: VLLM,
  vllm_importance_sampling_mode: VLLM,
  vllm_importance_sampling_clip_max: VLLM,
  vllm_importance_sampling_clip_min: VLLM,
  vllm_importance_sampling_cap: VLLM,
  use_transformers_continuous_batching: CONTINUOUS,
  transformers_continuous_batching_config: CONTINUOUS,
  use_transformers_paged: CONTINUOUS,
  log_multimodal: plumbing("completions.jsonl has text, report.html the pictures"),
  log_unique_prompts: fixed([false], "every completion is logged"),
  log_completions_hub_repo: missing("upload completions.jsonl by hand"),
};

const PREFERENCE: Readonly<Record<string, TrlKey>> = {
  precompute_ref_batch_size: moved("training.per_device_eval_batch_size"),
  train_sampling_strategy: fixed(
    ["random", "sequential"],
    "rows are shuffled by training.seed, and answers of a step are paired in any order",
  ),
};

const SUPERVISED: Readonly<Record<string, TrlKey>> = {
  chat_template_path: missing("edit chat_template in tokenizer_config.json"),
  eos_token: missing("edit eos_token in tokenizer_config.json"),
  dataset_text_field: missing("rename the column with dataset.rename_columns", ["text"]),
  dataset_kwargs: plumbing("rows are prepared as they are read"),
  packing: NO_PADDING,
  packing_strategy: NO_PADDING,
  eval_packing: NO_PADDING,
  completion_only_loss: {
    kind: "translated",
    to: "sft.train_on_prompt",
    values: [[true, false], [false, true], [null, null]],
    why: "the loss is that of the answers unless sft.train_on_prompt is true",
    overruledBy: ["assistant_only_loss", true],
  },
  assistant_only_loss: {
    kind: "translated",
    to: "sft.train_on_prompt",
    values: [[true, false], [false, null]],
    why: "the loss is that of the answers unless sft.train_on_prompt is true",
  },
};

/** Keys of TRL by the section that they stand in. */
const BY_SECTION: Readonly<Record<TrainingType, Readonly<Record<string, TrlKey>>>> = {
  sft: { ...SHARED, ...SUPERVISED },
  dpo: {
    ...SHARED,
    ...PREFERENCE,
  },
  grpo: {
    ...SHARED,
    ...GENERATION,
  },
  gkd: {
    ...SHARED,
    ...SUPERVISED,
    teacher_model_init_kwargs: PYTHON,
  },
};

/** What becomes of a key of TRL; undefined: TRL has none of that name, or it is a key here. */
export function trlKey(section: string, name: string): TrlKey | undefined {
  const keys = Object.entries(BY_SECTION).find(([own]) => own === section)?.[1];
  return keys !== undefined && Object.hasOwn(keys, name) ? keys[name] : undefined;
}
