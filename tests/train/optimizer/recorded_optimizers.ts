/**
 * Replays the steps that `record.py` recorded with the real packages.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import * as tf from "@tensorflow/tfjs";
import { readBack } from "../../../src/device/read_back.ts";
import { elementCount } from "../../../src/element_count.ts";
import { Optimizer, type OptimizerOptions } from "../../../src/train/optimizer/optimizer.ts";
import recorded from "./optimizers.json" with { type: "json" };

/** A recorded run: weights after each step, the state after the last one, as base64. */
interface RecordedCase {
  readonly shapes: readonly number[][];
  readonly rates: readonly number[];
  readonly spread: number;
  /** By step and parameter; null: not recorded. */
  readonly weights: readonly (readonly (string | null)[])[];
  readonly states: Readonly<Record<string, readonly (string | null)[]>>;
  /** Schedule-free AdamW's averages after the last step. */
  readonly averages?: readonly string[];
}

const CASES = recorded.cases as unknown as Readonly<Record<string, RecordedCase>>;

/** The bytes of a record. */
function bytesOf(base64: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
}

const floatsOf = (base64: string): Float32Array => new Float32Array(bytesOf(base64).buffer);

/** Numbers of bitsandbytes' maps of 8 bits. */
export const RECORDED_MAPS: { signed: Float32Array; unsigned: Float32Array } = {
  signed: floatsOf(recorded.maps.signed),
  unsigned: floatsOf(recorded.maps.unsigned),
};

/** The same numbers as `drawn()` of record.py: exact in float32. */
export function drawn(shape: readonly number[], seed: number, spread = 0): Float32Array {
  return Float32Array.from(
    { length: elementCount(shape) },
    (_, i) => ((i * 7919 + seed * 104729) % 1009 / 1024 - 0.5) / 2 ** (i % (spread + 1)),
  );
}

/** How a case is replayed. */
export interface ReplayOptions {
  /** Largest difference of a weight, a mean or a scale, relative to 1. */
  readonly tolerance?: number;
  /** Names of the states here, by their names in the record. */
  readonly states?: Readonly<Record<string, string>>;
  /** Share of codes of 8 bits that may be the neighbour. */
  readonly codesOff?: number;
  /** What the gradients are multiplied by, as in fp16; default 1. */
  readonly lossScale?: number;
  /** After each step the optimizer is replaced by one that goes on from its state. */
  readonly resume?: boolean;
}

/** A record's optimizer on the current backend, with the parameters that it starts from. */
function makeOptimizer({ shapes }: RecordedCase, options: Partial<OptimizerOptions>): Optimizer {
  const parameters = new Map(shapes.map((shape, k) => [
    `blocks.${k}.weight`,
    tf.tidy(() => tf.variable(tf.tensor(drawn(shape, 1 + k), shape), false)),
  ]));
  const { betas: [beta1, beta2], eps, weight_decay: weightDecay, max_norm: maxGradNorm } =
    recorded.options;
  const group = { name: "all", learningRate: 1, weightDecay, parameters };
  return new Optimizer([group], { beta1, beta2, eps, maxGradNorm, ...options });
}

function assertClose(
  got: ArrayLike<number>,
  recorded: string,
  tolerance: number,
  what: string,
): void {
  const want = floatsOf(recorded);
  assertEquals(got.length, want.length, what);
  const off = want.findIndex((value, i) => !(Math.abs(got[i] - value) <= tolerance));
  assert(off < 0, `${what}[${off}] is ${got[off]}, recorded ${want[off]}`);
}

/**
 * Replays a case on the current backend and compares weights and state.
 *
 * @param name of the case
 * @param options of the optimizer; betas, eps and clipping are the record's
 */
export async function replay(
  name: string,
  options: Partial<OptimizerOptions>,
  { tolerance = 2e-6, states = {}, codesOff = 0, resume = false, lossScale = 1 }: ReplayOptions =
    {},
): Promise<void> {
  const wanted = CASES[name];
  let optimizer = makeOptimizer(wanted, options);
  const read = async () => await readBack([...optimizer.parameters.values()]);
  const { numTensors } = tf.memory();
  for (const [step, rate] of wanted.rates.entries()) {
    const gradients = new Map(
      [...optimizer.parameters].map(([name, { shape }], k) => [
        name,
        tf.tidy(() =>
          tf.tensor(drawn(shape, 100 * (step + 1) + k, wanted.spread), shape).mul(lossScale)
        ) as tf.Tensor,
      ]),
    );
    const { gradNorm } = await optimizer.measure(gradients, [], lossScale);
    optimizer.step(gradients, gradNorm, rate, lossScale);
    tf.dispose([...gradients.values()]);
    if (resume) {
      const next = makeOptimizer(wanted, options);
      for (const [name, parameter] of next.parameters) {
        tf.tidy(() => parameter.assign(optimizer.parameters.get(name)!.mul(1)));
      }
      const state = await optimizer.state();
      next.restore({
        ...state,
        arrays: new Map(
          Array.from(
            state.arrays,
            ([name, { shape, data }]) => [name, { shape, data: data.slice() }],
          ),
        ),
      });
      tf.dispose([...optimizer.parameters.values()]);
      optimizer.dispose();
      optimizer = next;
    }
    const values = await read();
    wanted.weights[step].forEach((want, k) =>
      want && assertClose(values[k], want, tolerance, `${name}, step ${step + 1}, parameter ${k}`)
    );
  }
  assertEquals(tf.memory().numTensors, numTensors, "a step keeps no tensors");
  const { arrays } = await optimizer.state();
  const names = [...optimizer.parameters.keys()];
  for (const [theirs, values] of Object.entries(wanted.states)) {
    values.forEach((want, k) => {
      if (want === null) return;
      const { data } = arrays.get(`${states[theirs] ?? theirs}.${names[k]}`)!;
      const what = `${name}, ${theirs} of parameter ${k}`;
      if (data instanceof Float32Array) return assertClose(data, want, tolerance, what);
      const codes = bytesOf(want);
      assert(codes.every((code, i) => Math.abs(code - data[i]) <= 1), `${what}: [${data}]`);
      const off = codes.filter((code, i) => code !== data[i]).length;
      assert(off <= codesOff * codes.length, `${what}: ${off} of ${codes.length} codes differ`);
    });
  }
  if (wanted.averages !== undefined) {
    const before = await read();
    await optimizer.withAverages(async () => {
      const values = await read();
      wanted.averages!.forEach((want, k) =>
        assertClose(values[k], want, tolerance, `${name}, average of parameter ${k}`)
      );
    });
    assertEquals(await read(), before, "the weights that train are back to the bit");
  }
  tf.dispose([...optimizer.parameters.values()]);
  optimizer.dispose();
}

/** Every case with the options that the record was made with, and how exact a replay is. */
export const REPLAYS: readonly (readonly [
  name: string,
  options: Partial<OptimizerOptions>,
  replayed?: ReplayOptions,
])[] = [
  ["adamw_torch", {}],
  ["lion_32bit", { name: "lion_32bit" }, { states: { state1: "exp_avg" } }],
  ["adafactor", { name: "adafactor" }],
  ["adafactor scaled", {
    name: "adafactor",
    arguments: { scale_parameter: true, clip_threshold: 0.5, decay_rate: -0.6 },
  }],
  ["schedule_free_adamw", { name: "schedule_free_adamw", warmupSteps: 3 }],
  ["schedule_free_adamw weighted", {
    name: "schedule_free_adamw",
    arguments: { r: 1.5, weight_lr_power: 1 },
  }],
  ["adamw_bnb_8bit", { name: "adamw_bnb_8bit", arguments: { min_8bit_size: 0 } }, {
    states: {
      state1: "exp_avg",
      state2: "exp_avg_sq",
      absmax1: "exp_avg_absmax",
      absmax2: "exp_avg_sq_absmax",
    },
    codesOff: 0.01,
    // A code that is the neighbour moves a weight by the width of a step of the map.
    tolerance: 2e-5,
  }],
  ["lion_8bit", { name: "lion_8bit", arguments: { min_8bit_size: 0 } }, {
    states: { state1: "exp_avg", absmax1: "exp_avg_absmax" },
    codesOff: 0.01,
  }],
  ...(["original", "match_rms_adamw"] as const).flatMap((adjust_lr_fn) =>
    [true, false].map((nesterov) =>
      [
        `muon ${adjust_lr_fn}${nesterov ? " nesterov" : ""}`,
        { name: "muon", arguments: { adjust_lr_fn, nesterov, momentum: 0.9 } },
      ] as const
    )
  ),
  // torch's iteration in bfloat16, ours in float32: 8 bits of a fraction, five iterations.
  ["muon bfloat16", {
    name: "muon",
    arguments: { adjust_lr_fn: "match_rms_adamw", momentum: 0.9 },
  }, { tolerance: 2e-3 }],
];
