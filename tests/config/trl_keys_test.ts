import { assert, assertEquals, assertThrows } from "@std/assert";
import { parseConfig } from "../../src/config/load_config.ts";
import { configTable } from "../../src/config/schema/schema.ts";
import { trlKey } from "../../src/config/schema/trl_keys.ts";
import { trlReference } from "../../src/config/trl_reference.ts";
import { canonicalName } from "../../src/config/types/value_type.ts";
import fields from "../../docs/trl_fields.json" with { type: "json" };
import { configFault, leastConfig } from "./config_fault.ts";

/** A config's value and the notes of reading it. */
function read(trainer: "sft" | "dpo" | "grpo", rest: string, overrides: readonly string[] = []) {
  const notes: string[] = [];
  const config = parseConfig(leastConfig(trainer, rest), {
    overrides,
    onWarning: (note) => notes.push(note),
  });
  return { config, notes };
}

Deno.test("docs/trl_keys.md has every key of TRL's six configs", async () => {
  assertEquals(
    Object.entries(fields).filter(([name]) => name !== "trl").map(([, keys]) =>
      Object.keys(keys).length
    ),
    [79, 26, 22, 19, 53, 8],
  );
  const page = await Deno.readTextFile(new URL("../../docs/trl_keys.md", import.meta.url));
  assert(page === trlReference(fields), "run deno task config-docs");
});

Deno.test("trlReference() names a key that is in no table", () => {
  assertThrows(
    () => trlReference({ ...fields, SFTConfig: { new_key: 1 } }),
    Error,
    "sft.new_key",
  );
});

Deno.test("no key of a section's schema stands in the table of TRL's other keys", () => {
  for (const section of ["sft", "dpo", "grpo"] as const) {
    for (const name of Object.keys(configTable[section].type.table!)) {
      assertEquals(trlKey(section, name), undefined, `${section}.${name}`);
    }
  }
});

Deno.test("keys of TRL without effect here are accepted with a note", () => {
  const { config, notes } = read(
    "grpo",
    "grpo: { use_vllm: true, vllm_gpu_memory_utilization: 0.5, shuffle_dataset: true, top_k: 5 }",
  );
  assertEquals(config.grpo.top_k, 5);
  assert(!("use_vllm" in config.grpo));
  assertEquals(notes.length, 3);
  assert(
    notes[0].startsWith("config:4: grpo.use_vllm: a key of TRL without effect here"),
    notes[0],
  );
  assert(notes[2].includes("so it is in any case"), notes[2]);
});

Deno.test("keys of TRL with another place here are read from there", () => {
  const { config, notes } = read("dpo", "dpo: { learning_rate: 5e-5, max_length: 512, beta: 0.3 }");
  assertEquals([config.training.learning_rate, config.training.max_seq_length], [5e-5, 512]);
  assertEquals(config.dpo.beta, 0.3);
  assertEquals(notes.map((note) => note.split(": ").at(-1)), [
    "read as training.learning_rate",
    "read as training.max_seq_length",
  ]);
});

Deno.test("TRL's keys of what the loss counts are read as sft.train_on_prompt", () => {
  const trains = (keys: string) => read("sft", `sft: { ${keys} }`).config.sft.train_on_prompt;
  assertEquals(trains("completion_only_loss: false"), true);
  assertEquals(trains("completion_only_loss: true"), false);
  assertEquals(trains("completion_only_loss: null, assistant_only_loss: false"), false);
  assertEquals(trains("assistant_only_loss: true"), false);
  // In TRL the mask of the assistant's turns counts in any case.
  assertEquals(trains("completion_only_loss: false, assistant_only_loss: true"), false);
  assertEquals(trains("assistant_only_loss: true, completion_only_loss: false"), false);
  assertEquals(trains("train_on_prompt: true, assistant_only_loss: false"), true);
  assertEquals(trains("train_on_inputs: true"), true);
});

Deno.test("keys of TRL may be set on the command line", () => {
  const { config, notes } = read("dpo", "", ["dpo.max_length=77", "dpo.dataset_num_proc=4"]);
  assertEquals(config.training.max_seq_length, 77);
  assertEquals(notes.length, 2);
});

for (
  const [what, trainer, rest, key, text] of [
    [
      "a place here that is set too",
      "dpo",
      "dpo: { max_length: 5 }\ntraining: { max_seq_length: 6 }",
      "dpo.max_length",
      "keep one",
    ],
    [
      "a wrong type in another place",
      "dpo",
      "dpo: { max_length: many }",
      "training.max_seq_length",
      "got",
    ],
    [
      "a value that it cannot have",
      "sft",
      "sft: { completion_only_loss: 3 }",
      "sft.completion_only_loss",
      "want true or false",
    ],
    [
      "the contrary of a key here",
      "sft",
      "sft: { assistant_only_loss: true, train_on_prompt: true }",
      "sft.assistant_only_loss",
      "means sft.train_on_prompt: false, and that is true; keep one",
    ],
    [
      "another value than what is done",
      "sft",
      "sft: { truncation_mode: keep_end }",
      "sft.truncation_mode",
      "want keep_start",
    ],
    [
      "something that is not supported",
      "grpo",
      "grpo: { log_completions_hub_repo: a/b }",
      "grpo.log_completions_hub_repo",
      "not supported",
    ],
    ["another trainer's key", "sft", "sft: { use_vllm: true }", "sft.use_vllm", "no such key"],
  ] as const
) {
  Deno.test(`a key of TRL is refused for ${what}`, () => {
    const error = configFault(leastConfig(trainer, rest));
    assertEquals(error.key, key);
    assert(error.message.includes(text), error.message);
  });
}

Deno.test("every key that the page calls here is a key of its section", () => {
  const sections = {
    GRPOConfig: "grpo",
    RLOOConfig: "grpo",
    DPOConfig: "dpo",
    SFTConfig: "sft",
  } as const;
  for (const [name, section] of Object.entries(sections)) {
    const keys = Object.entries(fields).find(([own]) => own === name)![1];
    for (const key of Object.keys(keys)) {
      const here = canonicalName(configTable[section].type.table!, key) !== undefined;
      assert(here !== (trlKey(section, key) !== undefined), `${section}.${key}`);
    }
  }
});

for (
  const [name, trainer] of [
    ["GRPOConfig", "grpo"],
    ["RLOOConfig", "grpo"],
    ["DPOConfig", "dpo"],
    ["KTOConfig", "dpo"],
    ["SFTConfig", "sft"],
  ] as const
) {
  Deno.test(`every default of TRL's ${name} is accepted`, () => {
    const { config } = read(trainer, `${trainer}: ${JSON.stringify(fields[name])}`);
    assertEquals(config.training.learning_rate, fields[name].learning_rate);
  });
}
