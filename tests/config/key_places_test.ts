import { assertEquals } from "@std/assert";
import { placesOfKey } from "../../src/config/key_places.ts";
import { UsageError } from "../../tasks/usage_error.ts";
import { parseTrainArguments } from "../../tasks/train.ts";
import { configFault, leastConfig } from "./config_fault.ts";

const faultOf = (lines: string, overrides: string[] = []) =>
  configFault(leastConfig("sft", lines), { file: "a.yaml", overrides });

Deno.test("placesOfKey() finds a key in its section, by its name or an alias", () => {
  assertEquals(placesOfKey("learning_rate"), ["training.learning_rate"]);
  assertEquals(placesOfKey("vit_img_size"), ["model.vlm_config.vit_img_size"]);
  assertEquals(placesOfKey("dpo_loss_type"), ["dpo.loss_type"]);
  assertEquals(placesOfKey("beta"), ["dpo.beta", "grpo.beta", "gkd.beta"]);
});

Deno.test("a key in the wrong section is pointed to its own", () => {
  for (
    const [lines, says] of [
      ["learning_rate: 1", "a.yaml:4: learning_rate: not a section; it is training.learning_rate"],
      [
        "grpo: { max_steps: 3 }",
        "a.yaml:4: grpo.max_steps: no key of grpo; it is training.max_steps",
      ],
      [
        "training:\n  train_split: train",
        "a.yaml:5: training.train_split: no key of training; it is dataset.train_split",
      ],
      [
        "training:\n  max_completion_lenght: 5",
        "a.yaml:5: training.max_completion_lenght: no such key; did you mean " +
        "grpo.max_completion_length?",
      ],
    ]
  ) assertEquals(faultOf(lines).message, says);
});

Deno.test("--set with a key of another section, or without one, is pointed to its own", () => {
  assertEquals(
    faultOf("", ["learning_rate=1"]).message,
    "--set learning_rate=1: learning_rate: not a section; it is training.learning_rate",
  );
  assertEquals(faultOf("", ["model.beta=1"]).nearest, "dpo.beta");
});

Deno.test("a key as an option is pointed to --set", () => {
  for (const given of ["--learning-rate=1e-4", "--learning_rate=1e-4"]) {
    let message = "";
    try {
      parseTrainArguments(["sft", given]);
    } catch (error) {
      if (!(error instanceof UsageError)) throw error;
      message = error.message;
    }
    assertEquals(
      message,
      `there is no option ${given.split("=")[0]}: it is a key of the config; ` +
        "write --set training.learning_rate=1e-4",
    );
  }
});
