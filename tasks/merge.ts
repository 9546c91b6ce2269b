/**
 * `merge`.
 *
 * @module
 */
import { BACKEND_CHOICES, type BackendChoice } from "../src/config/schema/device_backend.ts";
import { type OptionSpec, parseOptions } from "./arguments.ts";
import type { Command } from "./command.ts";
import { checkNamedPaths } from "./named_paths.ts";
import { required } from "./required.ts";

/** What `merge` was asked for. */
export interface MergeOptions {
  readonly model: string;
  readonly adapter: string;
  readonly out: string;
  readonly backend: BackendChoice | undefined;
}

const options: readonly OptionSpec[] = [
  {
    name: "model",
    kind: "text",
    value: "DIR",
    summary: "the model that the adapter was trained on",
  },
  { name: "adapter", kind: "text", value: "DIR", summary: "a PEFT adapter: LoRA or DoRA" },
  { name: "out", kind: "text", value: "DIR", summary: "where the merged model goes" },
  { name: "backend", kind: "text", choices: BACKEND_CHOICES, summary: "where to compute" },
];

/**
 * Parses the arguments of `merge`.
 *
 * @throws {UsageError}
 */
export function parseMergeArguments(args: readonly string[]): MergeOptions {
  const parsed = parseOptions(args, options);
  return {
    model: required(parsed, "model"),
    adapter: required(parsed, "adapter"),
    out: required(parsed, "out"),
    backend: parsed.text("backend") as BackendChoice | undefined,
  };
}

/** The command. */
export const command: Command = {
  name: "merge",
  summary: "fold an adapter into its model's weights",
  usage: "--model DIR --adapter DIR --out DIR",
  options,
  async run(args) {
    const { model, adapter, out, backend } = parseMergeArguments(args);
    await checkNamedPaths([["--model", "model", model], ["--adapter", "model", adapter]]);
    const { initBackend } = await import("../src/device/backend.ts");
    const { resolveModelFolder } = await import("../src/hub/model_folder.ts");
    const { mergeAndVerify } = await import("../src/evaluate/merge_verified.ts");
    const active = await initBackend({ backend: backend ?? "auto" });
    console.error(`backend ${active.reason}`);
    const { merged, replaced, largestDifference } = await mergeAndVerify({
      modelDir: await resolveModelFolder(model),
      adapterDir: await resolveModelFolder(adapter),
      outDir: out,
    });
    console.log(
      `${out}: ${merged.length} layers merged` +
        `${replaced.length > 0 ? `, ${replaced.length} trained weights taken over` : ""}; ` +
        `largest difference of a logit before and after: ${largestDifference.toExponential(1)}`,
    );
    return 0;
  },
};
