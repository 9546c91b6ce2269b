/**
 * Replays `sampling.json`: logits to filtered probabilities, in the three orders it records.
 *
 * @module
 */
import { type SamplingParameters, samplingProbabilities } from "../../generate/sampling_filters.ts";
import { compareNumbers, readRecorded, type RecordedNumber } from "../compare_numbers.ts";
import type { ParityResult } from "../result.ts";

interface SamplingCase {
  temperature: number;
  top_k: number;
  top_p: number;
  effective?: { temperature: number; top_k: number; top_p: number };
  probs: RecordedNumber[][];
}

interface SamplingFile {
  logits: RecordedNumber[][];
  nanovlm?: SamplingCase[];
  nanovlm_lab_grpo?: SamplingCase[];
  transformers?: SamplingCase[];
}

/**
 * Replays `sampling.json`; absolute tolerance 1e-6.
 *
 * In rows with equal logits, which of them survive depends on the sort: there the sorted
 * probabilities are compared.
 */
export async function replaySamplingCases(directory: string): Promise<ParityResult[]> {
  const file: SamplingFile = JSON.parse(await Deno.readTextFile(`${directory}/sampling.json`));
  const logits = file.logits.map((row) => row.map(readRecorded));
  const results: ParityResult[] = [];
  for (const list of ["nanovlm", "nanovlm_lab_grpo", "transformers"] as const) {
    for (const recorded of file[list] ?? []) {
      const used = recorded.effective ?? recorded; // NanoVLM-Lab replaces values that it treats as unset
      const parameters: SamplingParameters = {
        temperature: used.temperature,
        topK: used.top_k,
        topP: used.top_p,
        order: list === "transformers" ? "transformers" : "nanovlm",
      };
      const { temperature, top_k, top_p } = recorded;
      logits.forEach((row, index) => {
        const ties = new Set(row).size < row.length;
        const ordered = (values: ArrayLike<number>) =>
          ties ? Float64Array.from(values).sort() : values;
        results.push(compareNumbers(
          `sampling/${list} ${JSON.stringify({ temperature, top_k, top_p })} row ${index}`,
          ties ? "sorted probabilities" : "probabilities",
          ordered(samplingProbabilities(row, parameters)),
          ordered(recorded.probs[index].map(readRecorded)),
          { absolute: 1e-6 },
        ));
      });
    }
  }
  return results;
}
