/**
 * What a model answers about drawings that its generator did not make: exact match by kind of
 * question, ground, size, canvas and style.
 *
 * python bench/drawings/draw.py FOLDER
 * deno run -A bench/drawings/measure.ts --model MODEL --drawings FOLDER >> docs/runs/drawings.log
 *
 * @module
 */
import { parseArgs } from "@std/cli/parse-args";
import { initBackend } from "../../src/device/backend.ts";
import { cellText } from "../../src/data/rows/row.ts";
import { evaluateVqa } from "../../src/evaluate/evaluate_vqa.ts";
import { evaluationData } from "../../src/evaluate/evaluation_data.ts";
import { loadModel } from "../../src/generate/load_model.ts";
import { formatTable } from "../../src/report/terminal/console_table.ts";

/** Columns of `drawings.jsonl` by which answers are grouped. */
const FACTS = ["ground", "size", "style", "side"] as const;
const KINDS = ["shape", "color", "count"] as const;

/** Right and asked. */
type Tally = [right: number, asked: number];

const percent = ([right, asked]: Tally) =>
  asked === 0 ? "" : `${(100 * right / asked).toFixed(1)} % of ${asked}`;

if (import.meta.main) {
  const { model: folder, drawings } = parseArgs(Deno.args, { string: ["model", "drawings"] });
  if (typeof folder !== "string" || typeof drawings !== "string") {
    throw new Error("Cannot measure: want --model FOLDER --drawings FOLDER");
  }
  await initBackend({ backend: "wasm" });
  const loaded = await loadModel(folder);
  const dataset = await evaluationData(`${drawings}/drawings.jsonl`, "vqa");
  const tallies = new Map<string, Map<string, Tally>>();
  await evaluateVqa(loaded, dataset, {
    batchSize: 128,
    onAnswer({ correct, type }, { columns }) {
      const groups = FACTS.map((fact) => {
        const cell = columns[fact];
        return cell === undefined ? null : `${fact} ${cellText(cell) ?? String(cell)}`;
      });
      for (const group of ["all", ...groups]) {
        if (group === null) continue;
        const byKind = tallies.get(group) ?? new Map<string, Tally>();
        tallies.set(group, byKind);
        const [right, asked] = byKind.get(type ?? "") ?? [0, 0];
        byKind.set(type ?? "", [right + Number(correct), asked + 1]);
      }
    },
  });
  loaded.model.dispose();
  const rows = [...tallies].sort(([a], [b]) => a.localeCompare(b, "en", { numeric: true }))
    .map(([group, byKind]) => [group, ...KINDS.map((kind) => percent(byKind.get(kind) ?? [0, 0]))]);
  console.log("Right answers about drawings made with Pillow");
  console.log(formatTable(["drawings", ...KINDS].map((header) => ({ header })), rows));
}
