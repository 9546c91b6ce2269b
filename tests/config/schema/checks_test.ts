import { assert, assertEquals } from "@std/assert";
import { parseConfig } from "../../../src/config/load_config.ts";
import { configFault, leastConfig } from "../config_fault.ts";

/** Trainer, lines of YAML, and the keys that must be at fault. */
const faults: readonly [string, "sft" | "dpo" | "grpo" | "gkd", string, string][] = [
  ["bf16 and fp16 together", "sft", "training: { bf16: true, fp16: true }", "training.fp16"],
  ["no steps at all", "sft", "training: { max_steps: 0 }", "training.max_steps"],
  [
    "a negative batch",
    "sft",
    "training: { per_device_eval_batch_size: -2 }",
    "training.per_device_eval_batch_size",
  ],
  [
    "warm-up over the whole run and more",
    "sft",
    "training: { warmup_ratio: 2 }",
    "training.warmup_ratio",
  ],
  [
    "a best model that is never evaluated",
    "sft",
    "training: { load_best_model_at_end: true, eval_strategy: epoch }",
    "training.load_best_model_at_end",
  ],
  [
    "saves that fall between evaluations",
    "sft",
    "training: { load_best_model_at_end: true, save_steps: 3, eval_steps: 2 }",
    "training.load_best_model_at_end",
  ],
  [
    "early stopping without evaluations",
    "sft",
    "training: { early_stopping_patience: 2, eval_strategy: no }",
    "training.early_stopping_patience",
  ],
  [
    "a threshold of early stopping without patience",
    "dpo",
    "training: { early_stopping_threshold: 0.1 }",
    "training.early_stopping_threshold",
  ],
  [
    "no patience",
    "sft",
    "training: { early_stopping_patience: 0 }",
    "training.early_stopping_patience",
  ],
  [
    "an evaluation on start without held-out data",
    "grpo",
    "training: { eval_on_start: true, eval_strategy: no }",
    "training.eval_on_start",
  ],
  [
    "the best checkpoint without evaluations",
    "sft",
    "training: { save_strategy: best, eval_strategy: no }",
    "training.save_strategy",
  ],
  [
    "prompts in the loss and the last turn alone",
    "sft",
    "sft: { train_on_prompt: true, last_turn_only: true }",
    "sft.last_turn_only",
  ],
  [
    "an argument of another schedule",
    "sft",
    "training: { lr_scheduler_kwargs: { power: 2 } }",
    "training.lr_scheduler_kwargs.power",
  ],
  [
    "a schedule without what it needs",
    "sft",
    "training: { lr_scheduler_type: warmup_stable_decay }",
    "training.lr_scheduler_kwargs",
  ],
  [
    "both floors of a cosine",
    "sft",
    "training: { lr_scheduler_type: cosine_with_min_lr, lr_scheduler_kwargs: { min_lr: 1, min_lr_rate: 1 } }",
    "training.lr_scheduler_kwargs",
  ],
  [
    "a schedule that waits for evaluations which never come",
    "sft",
    "training: { lr_scheduler_type: greedy, lr_scheduler_kwargs: { smooth: true }, eval_strategy: no }",
    "training.lr_scheduler_type",
  ],
  [
    "a run in which nothing trains",
    "sft",
    "training: { lr_mp: 0, lr_vision_backbone: 0, lr_language_backbone: 0, lr_lora: 1 }",
    "training",
  ],
  ["an upload to nowhere", "sft", "save: { push_to_hub: true }", "save.push_to_hub"],
  [
    "fewer weights than losses",
    "dpo",
    "dpo: { loss_type: [sigmoid, sft], loss_weights: [1] }",
    "dpo.loss_weights",
  ],
  [
    "LD-DPO without a reference",
    "dpo",
    "dpo: { loss_type: simpo, ld_alpha: 0.5 }",
    "dpo.ld_alpha",
  ],
  [
    "a reference that follows and is none",
    "grpo",
    "grpo: { sync_ref_model: true, beta: 0 }",
    "grpo.sync_ref_model",
  ],
  [
    "a reference that follows and is kept on disk",
    "dpo",
    "dpo: { sync_ref_model: true, precompute_ref_log_probs: true }",
    "dpo.sync_ref_model",
  ],
  [
    "a reference that follows from elsewhere",
    "dpo",
    "dpo: { sync_ref_model: true, ref_model_name_or_path: other }",
    "dpo.sync_ref_model",
  ],
  [
    "a reference that no loss has",
    "dpo",
    "dpo: { sync_ref_model: true, loss_type: simpo }",
    "dpo.sync_ref_model",
  ],
  ["a share above 1", "gkd", "gkd: { teacher_model_name_or_path: t, lmbda: 1.5 }", "gkd.lmbda"],
  ["a divergence below 0", "gkd", "gkd: { teacher_model_name_or_path: t, beta: -1 }", "gkd.beta"],
  ["a student without a teacher", "gkd", "gkd: { lmbda: 1 }", "gkd.teacher_model_name_or_path"],
  [
    "a budget of tokens for answers that are not there yet",
    "gkd",
    "training: { token_budget: 512 }\ngkd: { teacher_model_name_or_path: t }",
    "training.token_budget",
  ],
  [
    "a buffer of groups whose advantages are those of a round",
    "grpo",
    "grpo: { replay_buffer_size: 8, loss_type: rloo }",
    "grpo.replay_buffer_size",
  ],
  ["a weight above 1", "dpo", "dpo: { ld_alpha: 1.5 }", "dpo.ld_alpha"],
  [
    "WPO of a loss that sorts",
    "dpo",
    "dpo: { loss_type: aot, use_weighting: true }",
    "dpo.use_weighting",
  ],
  [
    "WPO of a cross entropy",
    "dpo",
    "dpo: { loss_type: [sigmoid, sft], use_weighting: true }",
    "dpo.use_weighting",
  ],
  [
    "a reference that no loss needs",
    "dpo",
    "dpo: { loss_type: [orpo], ref_model_name_or_path: x }",
    "dpo.loss_type",
  ],
  [
    "a clip range without RLOO",
    "grpo",
    "grpo: { reward_clip_range: [-1, 1] }",
    "grpo.reward_clip_range",
  ],
  [
    "a range from high to low",
    "grpo",
    "grpo: { loss_type: rloo, reward_clip_range: [1, -1] }",
    "grpo.reward_clip_range",
  ],
  [
    "GDPO with RLOO",
    "grpo",
    "grpo: { loss_type: rloo, multi_objective_aggregation: normalize_then_sum }",
    "grpo.multi_objective_aggregation",
  ],
  [
    "an unknown sampling key",
    "grpo",
    "grpo: { generation_kwargs: { beams: 2 } }",
    "grpo.generation_kwargs.beams",
  ],
  ["KTO beside a loss of pairs", "dpo", "dpo: { loss_type: [sigmoid, kto] }", "dpo.loss_type"],
  [
    "KTO without a reference",
    "dpo",
    "dpo: { loss_type: kto, reference_free: true }",
    "dpo.reference_free",
  ],
  [
    "KTO with one answer a step",
    "dpo",
    "training: { per_device_train_batch_size: 1, gradient_accumulation_steps: 1 }\n" +
    "dpo: { loss_type: kto }",
    "training.per_device_train_batch_size",
  ],
  ["an unknown loss", "dpo", "dpo: { loss_type: [sigmoid, kto2] }", "dpo.loss_type[1]"],
  [
    "labels flipped half of the time",
    "dpo",
    "dpo: { label_smoothing: 0.5 }",
    "dpo.label_smoothing",
  ],
  [
    "no reference and a reference",
    "dpo",
    "dpo: { reference_free: true, ref_model_name_or_path: x }",
    "dpo.reference_free",
  ],
  [
    "a group of one",
    "grpo",
    "grpo: { num_generations: 1, scale_rewards: group }",
    "grpo.num_generations",
  ],
  [
    "a group of one without scaling",
    "grpo",
    "grpo: { num_generations: 1, scale_rewards: none }",
    "grpo.num_generations",
  ],
  [
    "SAPO without a temperature",
    "grpo",
    "grpo: { loss_type: sapo, sapo_temperature_pos: 1 }",
    "grpo.sapo_temperature_neg",
  ],
  [
    "generations that do not divide the batch",
    "grpo",
    "grpo: { num_generations: 3, generation_batch_size: 8 }",
    "grpo.generation_batch_size",
  ],
  [
    "two sizes of a generation",
    "grpo",
    "grpo: { generation_batch_size: 8, steps_per_generation: 3 }",
    "grpo.steps_per_generation",
  ],
  ["LUSPO by token", "grpo", "grpo: { loss_type: luspo }", "grpo.importance_sampling_level"],
  [
    "a punishment longer than the completion",
    "grpo",
    "grpo: { overlong_buffer_length: 256 }",
    "grpo.overlong_buffer_length",
  ],
  ["a temperature of 0", "grpo", "grpo: { temperature: 0 }", "grpo.temperature"],
];

for (const [what, trainer, yaml, key] of faults) {
  Deno.test(`parseConfig() refuses ${what}`, () => {
    const error = configFault(leastConfig(trainer, yaml), { onWarning: () => {} });
    assertEquals(error.problems.map((problem) => problem.key), [key]);
    assertEquals(error.line, 4);
  });
}

Deno.test("parseConfig() refuses the last turn alone of turns that are split", () => {
  const { problems } = configFault(
    "training_type: sft\nmodel: { model_name_or_path: x }\n" +
      "dataset: { train_data_path: x, split_turns: true }\nsft: { mask_history: true }",
  );
  assertEquals(problems.map(({ key }) => key), ["sft.last_turn_only"]);
});

Deno.test("parseConfig() says that early stopping without load_best_model_at_end keeps the last weights", () => {
  const warnings = (more: string) => {
    const found: string[] = [];
    parseConfig(
      leastConfig("sft", `training: { early_stopping_patience: 2, eval_strategy: epoch, ${more} }`),
      { onWarning: (text) => void found.push(text) },
    );
    return found.filter((text) => text.includes("early_stopping_patience")).length;
  };
  assertEquals(warnings("save_strategy: epoch"), 1);
  assertEquals(warnings("save_strategy: epoch, load_best_model_at_end: true"), 0);
  assertEquals(warnings("save_strategy: best, load_best_model_at_end: true"), 0);
});

Deno.test("parseConfig() refuses GRPO without rewards, and data of another trainer", () => {
  const yaml = "training_type: grpo\nmodel: { model_name_or_path: x }\n" +
    "dataset: { train_data_path: x, dataset_format: vqa }";
  assertEquals(configFault(yaml).problems.map(({ key }) => key).sort(), [
    "dataset.dataset_format",
    "dataset.reward_functions_fn",
  ]);
});

Deno.test("parseConfig() refuses a model whose dims do not divide", () => {
  const yaml = `training_type: sft
model:
  model_name_or_path: initialize
  vlm_config:
    lm_n_heads: 4
    lm_n_kv_heads: 3
dataset: { train_data_path: x }`;
  const error = configFault(yaml);
  assertEquals([error.key, error.line], ["model.vlm_config.lm_n_heads", 5]);
});

Deno.test("parseConfig() does not read the sections of other trainers too closely", () => {
  parseConfig(leastConfig("sft", "grpo: { num_generations: 1 }"));
});

Deno.test("parseConfig() takes TRL's booleans for scale_rewards", () => {
  const scaling = (value: string) =>
    parseConfig(leastConfig("grpo", `grpo: { scale_rewards: ${value} }`)).grpo.scale_rewards;
  assertEquals([scaling("true"), scaling("false"), scaling("batch")], ["group", "none", "batch"]);
});

Deno.test("parseConfig() turns generation_batch_size into micro-batches", () => {
  const { grpo } = parseConfig(leastConfig(
    "grpo",
    "training: { per_device_train_batch_size: 2 }\ngrpo: { num_generations: 4, generation_batch_size: 24 }",
  ));
  assertEquals(grpo.steps_per_generation, 3);
});

Deno.test("parseConfig() reads report_to as Transformers does", () => {
  const reports = (yaml: string) =>
    parseConfig(leastConfig("sft", `logging: { ${yaml} }`)).logging.report_to;
  assertEquals(reports("report_to: none"), []);
  assertEquals(reports("report_to: all"), ["tensorboard", "wandb", "trackio", "mlflow"]);
  assertEquals(reports("report_to: [trackio, none]"), ["trackio"]);
  assertEquals(reports("report_to: wandb"), ["wandb"]);
  assertEquals(reports("report_to: [], use_wandb: true"), ["wandb"]);
});

Deno.test("parseConfig() refuses DPO settings that its losses and references cannot use", () => {
  const faults = ([
    ["dpo: { loss_type: exo_pair }", ""],
    ["dpo: { beta: 0 }", ""],
    ["dpo: { precompute_ref_log_probs: true }", ", streaming: true"],
    ["dpo: { ref_model_name_or_path: x }", ", streaming: true"],
    ["dpo: { reference_free: true, precompute_ref_log_probs: true }", ""],
    ["dpo: { loss_type: [sigmoid, sft], loss_weights: [1] }", ""],
  ] as const).map(([section, data]) =>
    configFault(
      `training_type: dpo\nmodel: { model_name_or_path: x }\n` +
        `dataset: { train_data_path: x, dataset_format: preference${data} }\n${section}`,
    ).key
  );
  assertEquals(faults, [
    "dpo.label_smoothing",
    "dpo.beta",
    "dpo.precompute_ref_log_probs",
    "dpo.ref_model_name_or_path",
    "dpo.reference_free",
    "dpo.loss_weights",
  ]);
});

Deno.test("under LoRA the adapters' rate counts, and the decoder's own does not", () => {
  const fault = (last: string) =>
    configFault(leastConfig("sft"), {
      overrides: [
        "model.use_lora=true",
        "training.lr_mp=0",
        "training.lr_vision_backbone=0",
        last,
      ],
    });
  assertEquals(fault("training.lr_lora=0").problems.map(({ key }) => key), ["training"]);
  parseConfig(leastConfig("sft"), {
    overrides: ["model.use_lora=true", "training.lr_mp=0", "training.lr_language_backbone=0"],
  });
});

Deno.test("image tokens of a fresh model must follow from its sizes, and the error has the number", () => {
  const sizes = "vit_img_size: 64, vit_patch_size: 8, mp_pixel_shuffle_factor: 2";
  const config = (vlm: string) =>
    `training_type: sft
model: { model_name_or_path: initialize, load_backbone: false, vlm_config: { ${vlm} } }
dataset: { train_data_path: x }`;
  const fault = configFault(config(`${sizes}, mp_image_token_length: 4`));
  assertEquals(fault.key, "model.vlm_config.mp_image_token_length");
  assertEquals(/got 4, want 16:/.test(fault.message), true, fault.message);
  parseConfig(config(`${sizes}, mp_image_token_length: 16`));
  parseConfig(config(sizes));
});

Deno.test("a budget of tokens needs a loss that does not depend on how rows are cut", () => {
  const told = (trainer: "sft" | "grpo", rest: string) =>
    configFault(leastConfig(trainer, `training: { token_budget: 100${rest} }\n`)).message;
  assert(told("sft", ", loss_reduction: micro_batch").includes("needs loss_reduction token"));
  assert(told("grpo", "").includes("GRPO cuts by prompts"));
  const alias = parseConfig(leastConfig("dpo", "training: { max_images_per_knapsack: 18 }\n"));
  assert(alias.training.image_budget === 18);
});

Deno.test("auto_find_batch_size is refused if the numbers would depend on what fits", () => {
  const told = (trainer: "sft" | "dpo" | "grpo", rest: string) => {
    const text = `training: { auto_find_batch_size: true${rest}`;
    return configFault(leastConfig(trainer, `${text}\n`)).message;
  };
  assert(told("sft", ", loss_reduction: micro_batch }").includes("needs loss_reduction token"));
  assert(told("sft", ", token_budget: 100 }").includes("remove one of the two"));
  assert(told("grpo", " }").includes("GRPO samples"));
  assert(told("dpo", " }\ndpo: { loss_type: aot }").includes("dpo.loss_type aot"));
  assert(told("dpo", " }\ndpo: { loss_type: kto }").includes("dpo.loss_type kto"));
  parseConfig(leastConfig("dpo", "training: { auto_find_batch_size: true }\n"));
});

for (const trainer of ["dpo", "grpo"] as const) {
  Deno.test(`${trainer}: a reference that follows an adapter is refused, with the way out`, () => {
    const { message } = configFault(leastConfig(trainer, `${trainer}: { sync_ref_model: true }`), {
      overrides: ["model.use_lora=true"],
    });
    assert(message.includes(`${trainer}.sync_ref_model`), message);
    assert(message.includes("use_lora to false"), message);
  });
}
