/**
 * `export web`.
 *
 * @module
 */
import type { ExportDtype } from "../src/web/export_weights.ts";
import { exportSite } from "../src/web/export_site.ts";
import { type OptionSpec, parseOptions } from "./arguments.ts";
import type { Command } from "./command.ts";
import { checkNamedPaths } from "./named_paths.ts";
import { required } from "./required.ts";
import { UsageError } from "./usage_error.ts";

const DTYPES = ["auto", "f16", "bf16"] as const;

/** What `export web` was asked for. */
export interface ExportWebOptions {
  readonly model: string;
  /** The folder to write. */
  readonly out: string;
  readonly dtype: ExportDtype;
  /** What the page calls the model; undefined: the name of its folder. */
  readonly name: string | undefined;
}

const options: readonly OptionSpec[] = [
  { name: "model", kind: "text", value: "DIR", summary: "a model's folder or Hub id" },
  { name: "out", kind: "text", value: "SITE", summary: "the folder to write, replaced as a whole" },
  {
    name: "dtype",
    kind: "text",
    choices: DTYPES,
    summary: "how weights are stored; auto keeps those of 16 bits and takes f16 for others",
  },
  { name: "name", kind: "text", value: "N", summary: "what the page calls the model" },
];

/**
 * Parses the arguments of `export`.
 *
 * @throws {UsageError}
 */
export function parseExportArguments(args: readonly string[]): ExportWebOptions {
  const parsed = parseOptions(args, options, ["web"]);
  const [verb] = parsed.positionals;
  if (verb !== "web") throw new UsageError(`got ${JSON.stringify(verb)}, want web`);
  const dtype = parsed.text("dtype") ?? "auto";
  return {
    model: required(parsed, "model"),
    out: required(parsed, "out"),
    dtype: dtype === "f16" ? "F16" : dtype === "bf16" ? "BF16" : "auto",
    name: parsed.text("name"),
  };
}

const megabytes = (bytes: number) => `${(bytes / 1e6).toFixed(bytes < 1e7 ? 2 : 0)} MB`;

/** The command. */
export const command: Command = {
  name: "export",
  summary: "write a site that runs a model in the visitor's browser",
  usage: "web --model DIR --out SITE [options]",
  options,
  notes: "Any static host serves the folder; docs/web_export.md tells more.",
  onInterrupt: "ending; nothing is written",
  async run(args, { signal }) {
    const { model, out, dtype, name } = parseExportArguments(args);
    await checkNamedPaths([["--model", "model", model]]);
    const site = await exportSite(model, out, {
      dtype,
      name,
      signal,
      onWarning: (text) => console.error(`warning: ${text}`),
    });
    const share = 100 * site.rounded / site.weights;
    const rounding = site.rounded === 0
      ? "16 bits hold every weight exactly"
      : `${share.toFixed(0)} % of the weights were rounded to 16 bits`;
    console.log(
      `${out}: page ${megabytes(site.pageBytes)} compressed, model ${megabytes(site.modelBytes)} ` +
        `in ${site.parts} part${site.parts === 1 ? "" : "s"} of weights; ${rounding}`,
    );
    console.error(`try it: npx serve ${out}, or python3 -m http.server --directory ${out}`);
    return 0;
  },
};
