/**
 * Checks that need more than one key.
 *
 * @module
 */
import { imageTokensOf } from "../../vlm_config.ts";
import type { ResolvedConfig } from "../types/config_types.ts";
import { pythonModuleProblem } from "../python_modules.ts";
import { sftDataProblems } from "./data/augmentation.ts";
import { autoFindProblems, batchBudgetProblems } from "./batch_budget.ts";
import { dpoProblems } from "./methods/dpo_checks.ts";
import type { Finding } from "./finding.ts";
import { gkdProblems } from "./methods/gkd.ts";
import { grpoProblems } from "./methods/grpo_checks.ts";
import { mixtureProblems } from "./mixture.ts";
import { optimizerProblems, optimizerWarnings } from "./optimizer/optimizer_keys.ts";
import { schedulerProblems } from "./scheduler_checks.ts";
import { sftProblems } from "./methods/sft.ts";
import { stoppingProblems, stoppingWarnings } from "./training/stopping.ts";

export type { Finding } from "./finding.ts";

/** Mistakes that stop the run, and warnings that do not. */
export interface Findings {
  readonly problems: Finding[];
  readonly warnings: Finding[];
}

/** Checks a filled config. */
export function checkConfig(config: ResolvedConfig): Findings {
  const problems: Finding[] = [
    ...modelProblems(config),
    ...datasetProblems(config),
    ...mixtureProblems(config),
    ...sftDataProblems(config),
    ...sftProblems(config),
    ...batchBudgetProblems(config),
    ...autoFindProblems(config),
    ...trainingProblems(config),
    ...optimizerProblems(config),
    ...schedulerProblems(config),
    ...stoppingProblems(config),
    ...(config.training_type === "dpo" ? dpoProblems(config) : []),
    ...(config.training_type === "grpo" ? grpoProblems(config) : []),
    ...(config.training_type === "gkd" ? gkdProblems(config) : []),
  ];
  if (config.save.push_to_hub && config.save.hub_model_id === null) {
    problems.push({
      key: "save.push_to_hub",
      text: "wants a repository; set save.hub_model_id to user/name",
    });
  }
  return { problems, warnings: warningsOf(config) };
}

/** Whether the run begins with a fresh model. */
export function isFreshModel({ model }: ResolvedConfig): boolean {
  return model.initialize_from_config || model.model_name_or_path.toLowerCase() === "initialize";
}

function modelProblems(config: ResolvedConfig): Finding[] {
  const problems: Finding[] = [];
  const { vlm_config: vlm, load_backbone } = config.model;
  const divides = (whole: keyof typeof vlm, part: keyof typeof vlm) => {
    const [a, b] = [vlm[whole], vlm[part]];
    if (typeof a === "number" && typeof b === "number" && a % b !== 0) {
      const text = `got ${a}, want a multiple of ${part}, which is ${b}`;
      problems.push({ key: `model.vlm_config.${whole}`, text });
    }
  };
  divides("vit_hidden_dim", "vit_n_heads");
  divides("vit_img_size", "vit_patch_size");
  divides("lm_hidden_dim", "lm_n_heads");
  divides("lm_n_heads", "lm_n_kv_heads");
  // Backbones bring their own sizes, a checkpoint all of them.
  const isChecked = isFreshModel(config) && !load_backbone && !vlm.vit_cls_flag;
  const tokens = isChecked && problems.length === 0 ? imageTokensOf(vlm) : null;
  const given = vlm.mp_image_token_length;
  if (tokens !== null && given !== undefined && given !== tokens) {
    problems.push({
      key: "model.vlm_config.mp_image_token_length",
      text: `got ${given}, want ${tokens}: (vit_img_size / vit_patch_size / ` +
        "mp_pixel_shuffle_factor)², the image tokens of a tile; set it to that, or leave it out",
    });
  }
  return problems;
}

function datasetProblems({ training_type, dataset }: ResolvedConfig): Finding[] {
  const problems: Finding[] = [];
  const wanted = { sft: "vqa", dpo: "preference", grpo: "grpo", gkd: "vqa" }[training_type];
  if (dataset.dataset_format !== wanted) {
    problems.push({
      key: "dataset.dataset_format",
      text:
        `got ${dataset.dataset_format}, want ${wanted}, since training_type is ${training_type}`,
    });
  }
  const asked = Object.entries(dataset).filter(([key, value]) =>
    key.endsWith("_min_rating") && value !== null
  );
  if (training_type !== "sft" && training_type !== "gkd") {
    for (const [key] of asked) {
      const text = "leaves out turns of conversations, which SFT and GKD alone have; remove it";
      problems.push({ key: `dataset.${key}`, text });
    }
  }
  const modules = [
    ["dataset.preprocessing_fn", dataset.preprocessing_fn],
    ...dataset.reward_functions_fn.map((path) => ["dataset.reward_functions_fn", path] as const),
  ] as const;
  for (const [key, path] of modules) {
    const text = path === null ? undefined : pythonModuleProblem(key, path);
    if (text !== undefined) problems.push({ key, text });
  }
  return problems;
}

function trainingProblems({ model, training }: ResolvedConfig): Finding[] {
  const problems: Finding[] = [];
  const last = model.use_lora ? "lr_lora" : "lr_language_backbone";
  if ([training.lr_mp, training.lr_vision_backbone, training[last]].every((rate) => rate === 0)) {
    problems.push({
      key: "training",
      text: `every learning rate is 0; set lr_mp, lr_vision_backbone or ${last} above 0`,
    });
  }
  if (model.load_in_8bit && !model.use_lora) {
    problems.push({
      key: "model.load_in_8bit",
      text: "wants model.use_lora: true, since weights in 8 bits cannot be trained",
    });
  }
  if (training.bf16 && training.fp16) {
    problems.push({
      key: "training.fp16",
      text:
        "bf16 and fp16 exclude each other; set one to false (bf16 has the range of float32 and " +
        "needs no loss scaling)",
    });
  }
  if (training.max_steps === 0) {
    problems.push({
      key: "training.max_steps",
      text: "got 0, want 1 or more, or -1 for whole epochs",
    });
  }
  if (training.load_best_model_at_end) {
    const { eval_strategy, eval_steps, save_strategy, save_steps } = training;
    const key = "training.load_best_model_at_end";
    const fits = eval_strategy === save_strategy || save_strategy === "best";
    if (eval_strategy === "no" || !fits) {
      const text = "wants eval_strategy and save_strategy to be the same, and not no, or " +
        "save_strategy to be best; got " +
        `${eval_strategy} and ${save_strategy}`;
      problems.push({ key, text });
    } else if (
      save_strategy === "steps" && save_steps !== null && eval_steps !== null &&
      save_steps % eval_steps !== 0
    ) {
      const text =
        `wants save_steps to be a multiple of eval_steps; got ${save_steps} and ${eval_steps}`;
      problems.push({ key, text });
    }
  }
  return problems;
}

function warningsOf(config: ResolvedConfig): Finding[] {
  const { model, training, grpo } = config;
  const warnings: Finding[] = [...stoppingWarnings(config), ...optimizerWarnings(config)];
  if (training.n_gpu > 1) {
    warnings.push({
      key: "training.n_gpu",
      text: `got ${training.n_gpu}; a process uses one GPU: start ${training.n_gpu} of them with ` +
        `mpirun -n ${training.n_gpu} (docs/distributed.md)`,
    });
  }
  if (Object.keys(model.vlm_config).length > 0 && !isFreshModel(config)) {
    warnings.push({
      key: "model.vlm_config",
      text: "not read: the checkpoint brings its own (model_name_or_path is not initialize)",
    });
  }
  if (config.training_type === "grpo" && grpo.delta !== null && grpo.delta <= 1 + grpo.epsilon) {
    const text =
      `got ${grpo.delta}, which clips more than epsilon does; want more than 1 + epsilon`;
    warnings.push({ key: "grpo.delta", text });
  }
  return warnings;
}
