/**
 * The commands. Each is loaded when it is called; the others cost nothing.
 *
 * @module
 */
import type { Command } from "./command.ts";

/** A command that is not loaded yet. */
export interface CommandEntry {
  /** The command's own summary; a test holds the two together. */
  readonly summary: string;
  load(): Promise<Command>;
}

/** Every command by name, in the order of the help. */
export const COMMANDS: ReadonlyMap<string, CommandEntry> = new Map([
  ["init", {
    summary: "write a config for a data set",
    load: async () => (await import("./init.ts")).command,
  }],
  ["train", {
    summary: "train a model: SFT, DPO, GRPO or GKD",
    load: async () => (await import("./train.ts")).command,
  }],
  ["eval", {
    summary: "measure a model on a data set",
    load: async () => (await import("./eval.ts")).command,
  }],
  ["generate", {
    summary: "ask a model about pictures",
    load: async () => (await import("./generate.ts")).command,
  }],
  ["data", {
    summary: "show what a model will see of a data set",
    load: async () => (await import("./data.ts")).command,
  }],
  ["serve", {
    summary: "answer the OpenAI chat API with a model",
    load: async () => (await import("./serve.ts")).command,
  }],
  ["runs", {
    summary: "show the runs below a folder, any two beside each other",
    load: async () => (await import("./runs.ts")).command,
  }],
  ["export", {
    summary: "write a site that runs a model in the visitor's browser",
    load: async () => (await import("./export.ts")).command,
  }],
  ["merge", {
    summary: "fold an adapter into its model's weights",
    load: async () => (await import("./merge.ts")).command,
  }],
  ["convert", {
    summary: "build a nanoVLM or a SmolVLM from SigLIP and Llama folders",
    load: async () => (await import("./convert.ts")).command,
  }],
  ["reward", {
    summary: "try a reward module in its sandbox",
    load: async () => (await import("./reward.ts")).command,
  }],
  ["parity", {
    summary: "replay recorded cases of the Python reference",
    load: async () => (await import("./parity.ts")).command,
  }],
  ["doctor", {
    summary: "show what this machine has, and what is missing",
    load: async () => (await import("./doctor.ts")).command,
  }],
  ["bench", {
    summary: "run the benchmarks",
    load: async () => (await import("./bench.ts")).command,
  }],
]);
