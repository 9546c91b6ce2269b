/**
 * `bench check`: each benchmark against a fixed yardstick, in turns in one process, and the ratios
 * against those of a record.
 *
 * @module
 */
import { higherIsBetter } from "../against.ts";
import { type BenchDims, benchDims, benchModel, type BenchModelName } from "../bench_work.ts";
import { clockNamed } from "../clock.ts";
import { benchDecode } from "../decode_bench.ts";
import { deviceFacts } from "../device_facts.ts";
import { benchGrpoStep } from "../grpo_step_bench.ts";
import { benchLoraStep, benchStep, type Measured, StepWork } from "../step_bench.ts";
import { median } from "../timing.ts";
import type { RecordEntry } from "./record.ts";
import { Yardstick } from "./yardstick.ts";

/** What to measure, and how often. */
export interface CheckRequest {
  readonly model: BenchModelName;
  readonly rounds: number;
  /** Samples of each time. */
  readonly reps: number;
  readonly clock: "wall" | "cpu";
  /** Called with a line when something begins. */
  readonly onProgress?: (line: string) => void;
  /** Dims in place of the model's, for tests. */
  readonly dims?: BenchDims;
}

/** Times and rates; no sizes, and no fastest samples, which vary most. */
const isChecked = (name: string): boolean => /_s$/.test(name) && !name.includes("fastest");

/**
 * Measures the ratios of this machine and backend.
 *
 * @throws {Error} if no backend was started, or the clock cannot be read
 */
export async function measureRatios(request: CheckRequest): Promise<RecordEntry> {
  const { model, rounds, reps, clock, onProgress } = request;
  const dims = request.dims ?? benchDims(model);
  const now = clockNamed(clock);
  const timing = { reps, clock: now };
  const yardstick = new Yardstick();
  const rows = new Map<string, number[]>();
  const add = async (what: string, measure: () => Promise<Measured>): Promise<void> => {
    onProgress?.(what);
    const before = yardstick.seconds(now);
    const measured = await measure();
    // A machine that changes its speed meanwhile changes both.
    const unit = (before + yardstick.seconds(now)) / 2;
    for (const [name, value] of Object.entries(measured)) {
      if (!isChecked(name)) continue;
      const ratio = higherIsBetter(name) ? value * unit : value / unit;
      rows.set(name, [...rows.get(name) ?? [], ratio]);
    }
  };
  for (let round = 1; round <= rounds; round++) {
    const which = `, round ${round} of ${rounds}`;
    await add(`LoRA step${which}`, () => benchLoraStep(dims, timing));
    const own = benchModel(dims);
    const work = new StepWork(own, dims);
    try {
      await add(`step${which}`, () => benchStep(work, timing));
      await add(`decode${which}`, () => benchDecode(own, timing));
    } finally {
      work.dispose();
      own.dispose();
    }
    await add(`GRPO step${which}`, () => benchGrpoStep(dims, { ...timing, sharePrefix: true }));
  }
  const device = deviceFacts();
  const of = (take: (values: number[]) => number) =>
    Object.fromEntries([...rows].map(([name, values]) => [name, Number(take(values).toFixed(5))]));
  return {
    cpu: device.cpu ?? device.system,
    backend: device.backend,
    model,
    threads: device.threads,
    clock,
    date: new Date().toISOString().slice(0, 10),
    ratios: of(median),
    spread: of((values) => Math.max(...values) / Math.min(...values)),
  };
}
