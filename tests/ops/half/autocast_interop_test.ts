/** The ops of a 16-bit pass against `torch.autocast` itself. */
import { assert, assertEquals } from "@std/assert";
import * as tf from "@tensorflow/tfjs";
import { initBackend } from "../../../src/device/backend.ts";
import { attention } from "../../../src/ops/attention/attention.ts";
import { AttentionLayout } from "../../../src/ops/attention/attention_layout.ts";
import { valueAndGradients } from "../../../src/ops/tape/backward.ts";
import { gelu, swiglu } from "../../../src/ops/activations.ts";
import { headLogProbs } from "../../../src/ops/head.ts";
import { linear } from "../../../src/ops/linear.ts";
import { type HalfFormat, withPrecision } from "../../../src/ops/half/precision.ts";

/** `NANOVLM_TEST_PYTHON` names a Python with torch; else `python3`. */
const python = Deno.env.get("NANOVLM_TEST_PYTHON") ?? "python3";
const script = new URL("./autocast_interop.py", import.meta.url).pathname;

function findsTorch(): boolean {
  const code = "import importlib.util; raise SystemExit(importlib.util.find_spec('torch') is None)";
  try {
    return new Deno.Command(python, { args: ["-c", code], stderr: "null" }).outputSync().success;
  } catch {
    return false;
  }
}
const hasTorch = findsTorch();
const skipped = hasTorch ? "" : ` (skipped: ${python} has no torch)`;

interface Numbers {
  shape: number[];
  values: number[];
}

/** What the script prints of an op. */
interface Case {
  inputs: Numbers[];
  dy: Numbers;
  value: number[];
  gradients: number[][];
  /** Whether PyTorch's value is 16 bits wide. */
  half: boolean;
}

type Op = (inputs: tf.Tensor[]) => tf.Tensor;

const TARGETS = Int32Array.of(0, 3, 99, 41, 7, 7);

const OPS: Record<string, Op> = {
  "linear": ([x, W, b]) => linear(x, W, b),
  "linear without bias": ([x, W]) => linear(x, W),
  "attention": (qkv) => {
    const [q, k, v] = qkv as tf.Tensor4D[];
    return attention(q, k, v, null);
  },
  "causal attention": (qkv) => {
    const [q, k, v] = qkv as tf.Tensor4D[];
    return attention(q, k, v, AttentionLayout.causal(new Int32Array(q.shape[0]), q.shape[1]));
  },
  "swiglu": ([gate, up]) => swiglu(gate, up),
  "gelu": ([x, W, b, V]) => linear(gelu(linear(x, W, b)), V),
  "head": ([h, W]) => headLogProbs(h as tf.Tensor2D, W, TARGETS),
};

/** Bits of the fraction, the leading one included. */
const DIGITS: Record<HalfFormat, number> = { bf16: 8, fp16: 11 };

/**
 * How far values are from PyTorch's, in steps of the format at the largest of them: PyTorch's
 * attention rounds its probabilities too, and every library sums in an order of its own.
 */
function stepsOff(got: ArrayLike<number>, want: readonly number[], format: HalfFormat): number {
  const largest = want.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  const step = 2 ** (Math.floor(Math.log2(largest)) + 1 - DIGITS[format]);
  return want.reduce((most, value, i) => Math.max(most, Math.abs(got[i] - value) / step), 0);
}

function compare(
  format: HalfFormat,
  name: string,
  { inputs, dy, value, gradients, half }: Case,
): void {
  assertEquals(half, name !== "head", `${name}: 16 bits wide in PyTorch`);
  const tensors = inputs.map(({ values, shape }) => tf.tensor(values, shape));
  const slope = tf.tensor(dy.values, dy.shape);
  const run = () => withPrecision(format, () => OPS[name](tensors));
  const found = valueAndGradients(run, tensors, slope);
  const results = [found.value, ...found.gradients as tf.Tensor[]];
  const off = results.map((tensor, i) =>
    stepsOff(tensor.dataSync(), i === 0 ? value : gradients[i - 1], format)
  );
  console.log(`${format} ${name}: ${off.map((steps) => steps.toFixed(3)).join(", ")} steps off`);
  const allowed = name.includes("attention") ? 2 : 1;
  assert(off.every((steps) => steps <= allowed), `${format} ${name}: ${off} steps off`);
  tf.dispose([...tensors, slope, ...results]);
}

Deno.test({
  name: `ops in bf16 and fp16 give what torch.autocast gives${skipped}`,
  ignore: !hasTorch,
  sanitizeOps: false,
  sanitizeResources: false,
  async fn() {
    const { stdout, stderr, success } = await new Deno.Command(python, { args: [script] }).output();
    assert(success, new TextDecoder().decode(stderr));
    const printed: Record<HalfFormat, Record<string, Case>> = JSON.parse(
      new TextDecoder().decode(stdout),
    );
    await initBackend({ backend: "wasm" });
    for (const format of ["bf16", "fp16"] as const) {
      const cases = printed[format];
      assertEquals(Object.keys(cases), Object.keys(OPS));
      for (const [name, one] of Object.entries(cases)) compare(format, name, one);
    }
  },
});
