import { assert, assertEquals } from "@std/assert";
import { parseConfig } from "../../../../src/config/load_config.ts";
import { configFault, leastConfig } from "../../config_fault.ts";

const parse = (training: string, onWarning = (_: string) => {}) =>
  parseConfig(leastConfig("sft", `training: { ${training} }`), { onWarning }).training;

for (
  const [written, read] of [
    ["adamw_torch_fused", "adamw_torch"],
    ["paged_adamw_32bit", "adamw_torch"],
    ["adamw_8bit", "adamw_bnb_8bit"],
    ["paged_adamw_8bit", "adamw_bnb_8bit"],
    ["lion", "lion_32bit"],
    ["paged_lion_8bit", "lion_8bit"],
    ["Muon", "muon"],
  ]
) {
  Deno.test(`training.optim: ${written} is read as ${read}`, () => {
    assertEquals(parse(`optim: ${written}`).optim as string, read);
  });
}

Deno.test("training.optim_args is a mapping, or Transformers' text", () => {
  const args = { momentum: 0.9, nesterov: false, adjust_lr_fn: "original" };
  const text = "momentum=0.9, nesterov=False, adjust_lr_fn=original";
  assertEquals(parse(`optim: muon, optim_args: ${JSON.stringify(args)}`).optim_args, args);
  assertEquals(parse(`optim: muon, optim_args: "${text}"`).optim_args, args);
  assertEquals(parse("optim: muon, optim_args: null").optim_args, {});
});

const faults: readonly [what: string, training: string, key: string, says: string][] = [
  ["an unknown optimizer", "optim: sophia", "training.optim", "want one of adamw_torch"],
  [
    "an argument of another optimizer",
    "optim: lion_32bit, optim_args: { momentum: 0.9 }",
    "training.optim_args.momentum",
    "takes no arguments",
  ],
  [
    "a misspelt argument",
    "optim: muon, optim_args: { nesterow: true }",
    "training.optim_args.nesterow",
    "did you mean nesterov?",
  ],
  [
    "an argument out of its range",
    "optim: muon, optim_args: momentum=1",
    "training.optim_args.momentum",
    "want a number from 0 to below 1",
  ],
  [
    "a text without values",
    "optim: muon, optim_args: momentum",
    "training.optim_args",
    "key=value",
  ],
  [
    "schedule-free without a first beta",
    "optim: schedule_free_adamw, adam_beta1: 0",
    "training.adam_beta1",
    "division by it",
  ],
  ["negative noise", "neftune_noise_alpha: -1", "training.neftune_noise_alpha", "0 or more"],
];

for (const [what, training, key, says] of faults) {
  Deno.test(`a config with ${what} is refused`, () => {
    const { problems } = configFault(leastConfig("sft", `training: { ${training} }`));
    const found = problems.find((problem) => problem.key === key);
    assert(found?.text.includes(says), JSON.stringify(problems));
  });
}

for (const trainer of ["grpo", "gkd"] as const) {
  Deno.test(`NEFTune's noise is refused in ${trainer}`, () => {
    const yaml = leastConfig("grpo", "training: { neftune_noise_alpha: 5 }")
      .replace("training_type: grpo", `training_type: ${trainer}`);
    const found = configFault(yaml).problems.find(({ key }) => key.endsWith("neftune_noise_alpha"));
    assert(found?.text.includes(`under ${trainer.toUpperCase()}`), found?.text);
  });
}

Deno.test("schedule_free_adamw has a constant schedule unless the config names one, which warns", () => {
  const warnings: string[] = [];
  const schedule = (training: string) =>
    parse(training, (text) => warnings.push(text)).lr_scheduler_type;
  assertEquals(schedule("optim: schedule_free_adamw"), "constant");
  assertEquals(schedule("optim: muon"), "cosine");
  assertEquals(warnings, []);
  assertEquals(schedule("optim: schedule_free_adamw, lr_scheduler_type: cosine"), "cosine");
  assert(warnings.length === 1 && warnings[0].includes("wants constant"), `${warnings}`);
});
