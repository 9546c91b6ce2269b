import { assert, assertEquals, assertThrows } from "@std/assert";
import * as tf from "@tensorflow/tfjs";
import { initBackend } from "../../src/device/backend.ts";
import { assertNoGpuErrors, clearGpuErrors } from "../../src/device/gpu_errors.ts";
import { readBack } from "../../src/device/read_back.ts";
import { valueAndGradients } from "../../src/ops/tape/backward.ts";
import { fusedKernels } from "../../src/ops/fused_kernels.ts";
import { dropout, geluComposite } from "../../src/ops/activations.ts";
import { float32ToBfloat16, float32ToFloat16 } from "../../src/ops/half/half_precision.ts";
import { linear, linearComposite, separateLinear } from "../../src/ops/linear.ts";
import { type PackedFormat, PackedWeight, type Weight } from "../../src/ops/half/packed_weight.ts";
import { withPrecision } from "../../src/ops/half/precision.ts";
import { unpackWeight } from "../../src/ops/half/unpack_weight.ts";
import { withoutGpuKernels } from "../../src/ops/webgpu/runtime/enabled.ts";
import { describeDevice } from "../../src/ops/webgpu/runtime/launch.ts";
import { gpuTest } from "../gpu_adapter.ts";
import { assertClose } from "./assert_close.ts";
import { randomTensor } from "./random_tensor.ts";

// N rows, I input features, O output features, r rank

const SCALING = 0.7;

/** What a layer has beside its weight; the rest of the tensors are not there. */
interface Layer {
  readonly shape: readonly [N: number, I: number, O: number, r: number];
  readonly bias: boolean;
  readonly gelu: boolean;
  readonly packed: PackedFormat | null;
  /** Whether the branch reads x, or a tensor of its own. */
  readonly dropped: boolean;
  readonly trainsWeight: boolean;
}

function describe({ shape, ...options }: Layer): string {
  const on = Object.entries(options).filter(([, value]) => value !== false && value !== null);
  return `[${shape}] ${on.map(([name, value]) => value === true ? name : value).join(" ")}`;
}

const LAYERS: Layer[] = (() => {
  // N, I, O, r; 0: no branch. The last ones are large enough to be cut, or for a BLAS.
  const shapes: (readonly [number, number, number, number])[] = [
    ...([[1, 1, 1, 1], [3, 17, 5, 2], [5, 132, 20, 4], [8, 36, 68, 8], [33, 64, 30, 5]] as const),
    ...([[65, 68, 20, 16], [9, 30, 64, 17], [130, 64, 132, 12], [2, 64, 36, 0]] as const),
    ...([[70, 36, 66, 0], [4, 6, 130, 0], [65, 20, 64, 0]] as const),
  ];
  const layers: Layer[] = [];
  shapes.forEach((shape, i) => {
    const branch = shape[3] > 0;
    for (const gelu of [false, true]) {
      for (const packed of [null, i % 2 === 0 ? "BF16" : "F16"] as const) {
        layers.push({
          ...{ shape, gelu, packed },
          bias: (i + (gelu ? 1 : 0)) % 3 !== 0,
          dropped: branch && (i + (packed === null ? 1 : 0)) % 2 === 0,
          trainsWeight: packed === null && i % 3 !== 1,
        });
      }
    }
  });
  return layers;
})();

/** A layer's tensors: all that get gradients, by name, and its weight. */
interface Tensors {
  readonly trained: tf.NamedTensorMap;
  readonly weight: Weight;
}

function makeTensors({ shape: [N, I, O, r], ...layer }: Layer): Tensors {
  const values = randomTensor([O, I], 2);
  const weight = layer.packed === null
    ? tf.variable(values, layer.trainsWeight)
    : pack(values, layer.packed);
  if (layer.packed !== null) values.dispose();
  const trained: tf.NamedTensorMap = { x: randomTensor([1, N, I], 1) };
  if (layer.trainsWeight) trained.weight = weight as tf.Tensor;
  if (layer.bias) trained.bias = randomTensor([O], 3);
  if (r > 0) {
    trained.loraA = randomTensor([r, I], 4);
    trained.loraB = randomTensor([O, r], 5);
    if (layer.dropped) trained.input = randomTensor([1, N, I], 6);
  }
  if (layer.packed === null) values.dispose();
  return { trained, weight };
}

function pack(values: tf.Tensor, format: PackedFormat): PackedWeight {
  const floats = values.dataSync<"float32">();
  const bits = format === "BF16" ? float32ToBfloat16(floats) : float32ToFloat16(floats);
  return new PackedWeight(bits, format, values.shape);
}

function free({ trained, weight }: Tensors): void {
  tf.dispose(trained);
  weight.dispose();
}

/** The layer of tfjs ops alone. */
function oracle({ shape: [, I, , r], gelu }: Layer, { trained, weight }: Tensors): tf.Tensor {
  const { x, bias, loraA, loraB, input = x } = trained;
  const wide = weight instanceof PackedWeight ? unpackWeight(weight) : weight;
  let y = linearComposite(x, wide, bias);
  if (r > 0) {
    const rows = input.reshape([-1, I]);
    const h = tf.matMul(rows, loraA, false, true).mul(SCALING);
    y = y.add(tf.matMul(h, loraB, false, true).reshape(y.shape));
  }
  return gelu ? geluComposite(y) : y;
}

function layerOf({ shape: [, , , r], gelu }: Layer, { trained, weight }: Tensors): tf.Tensor {
  const { x, bias, loraA, loraB, input } = trained;
  const branch = r === 0 ? undefined : { loraA, loraB, scaling: SCALING, input };
  return linear(x, weight, bias, { branch, gelu });
}

/** The value and the gradients, in the order of the trained tensors. */
function run(op: typeof layerOf, layer: Layer, tensors: Tensors): tf.Tensor[] {
  const [N, , O] = layer.shape;
  const dy = randomTensor([1, N, O], 99);
  const inputs = Object.values(tensors.trained);
  const { value, gradients } = valueAndGradients(() => op(layer, tensors), inputs, dy);
  dy.dispose();
  return [value, ...gradients.map((gradient) => gradient!)];
}

async function assertSameLayer(layer: Layer, tolerance: number): Promise<void> {
  const before = tf.memory().numTensors;
  const tensors = makeTensors(layer);
  const got = run(layerOf, layer, tensors);
  const want = await withoutGpuKernels(() => Promise.resolve(run(oracle, layer, tensors)));
  const values = await readBack([...got, ...want]);
  const names = ["value", ...Object.keys(tensors.trained)];
  names.forEach((name, i) => {
    const what = `${describe(layer)}: ${name}`;
    assertEquals(got[i].shape, want[i].shape, what);
    assertClose(values[i], values[names.length + i], tolerance, what);
  });
  assert(values[0].some((value) => value !== 0));
  tf.dispose([...got, ...want]);
  free(tensors);
  assertEquals(tf.memory().numTensors, before, `${describe(layer)} leaves tensors behind`);
}

for (const backend of ["wasm", "cpu"] as const) {
  Deno.test(`a layer with a side branch and GELU equals its composite (${backend})`, async () => {
    await initBackend({ backend });
    assertEquals(fusedKernels() !== null, backend === "wasm");
    for (const layer of LAYERS) await assertSameLayer(layer, 2e-5);
    await initBackend({ backend: "wasm" });
  });
}

/** Of each shape's four layers two, since shaders take their time to compile. */
function halfOf(layers: Layer[]): Layer[] {
  return layers.filter((_, i) => {
    const shape = Math.floor(i / 4);
    return [0, 3].includes(i % 4) === (shape % 2 === 0);
  });
}

for (const [family, isFallback] of [["textures", true], ["tiles", false]] as const) {
  gpuTest(
    `webgpu, ${family}: a layer with a side branch and GELU equals its composite`,
    async () => {
      clearGpuErrors();
      const backend = await initBackend({ backend: "webgpu" });
      try {
        describeDevice(backend.device!, isFallback);
        assert(fusedKernels() !== null);
        for (const layer of halfOf(LAYERS)) await assertSameLayer(layer, 2e-5);
        assertNoGpuErrors();
      } finally {
        backend.dispose();
        await initBackend({ backend: "wasm" });
      }
    },
  );
}

Deno.test("the gradients of a layer with a side branch are those of finite differences", async () => {
  await initBackend({ backend: "wasm" });
  const options = { bias: true, gelu: true, trainsWeight: true, packed: null } as const;
  for (const dropped of [false, true]) {
    const layer: Layer = { shape: [3, 5, 6, 2], dropped, ...options };
    const tensors = makeTensors(layer);
    const [, ...gradients] = run(layerOf, layer, tensors);
    const dy = randomTensor([1, 3, 6], 99).dataSync();
    const loss = (trained: tf.NamedTensorMap): number =>
      tf.tidy(() => {
        const weight = trained.weight;
        const y = layerOf(layer, { trained, weight }).dataSync<"float32">();
        return y.reduce((sum, value, i) => sum + value * dy[i], 0);
      });
    Object.entries(tensors.trained).forEach(([name, tensor], t) => {
      const gradient = gradients[t].dataSync();
      const values = tensor.dataSync().slice();
      const step = 1e-2;
      const slopes = values.map((value, i) => {
        const at = (shift: number): number => {
          const moved = tf.tensor(values.map((v, j) => j === i ? value + shift : v), tensor.shape);
          const result = loss({ ...tensors.trained, [name]: moved });
          moved.dispose();
          return result;
        };
        return (at(step) - at(-step)) / (2 * step);
      });
      assertClose(gradient, slopes, 1e-3, name);
    });
    tf.dispose(gradients);
    free(tensors);
  }
});

Deno.test("a frozen layer keeps only its LoRA branch's input and h for the backward pass", async () => {
  await initBackend({ backend: "wasm" });
  const [N, I, O, r] = [64, 32, 256, 4];
  const buffersKept = (branch: boolean, dropped: boolean): number => {
    const layer: Layer = {
      ...{ shape: [N, I, O, branch ? r : 0], dropped, bias: true, gelu: false },
      ...{ packed: null, trainsWeight: false },
    };
    const tensors = makeTensors(layer);
    const before = tf.memory().numDataBuffers;
    let kept = 0;
    const { value, gradients } = valueAndGradients(() => {
      const trained = { ...tensors.trained };
      const passing = tf.tidy(() => ["x", "input"].flatMap((name) => trained[name]?.neg() ?? []));
      [trained.x, trained.input] = passing;
      const y = layerOf(layer, { ...tensors, trained });
      tf.dispose(passing);
      kept = tf.memory().numDataBuffers - before;
      return y;
    }, Object.values(tensors.trained));
    tf.dispose([value, ...gradients.flatMap((gradient) => gradient ?? [])]);
    free(tensors);
    return kept - 1; // y
  };
  assertEquals(buffersKept(false, false), 0);
  assertEquals(buffersKept(true, false), 2);
  assertEquals(buffersKept(true, true), 2);
});

Deno.test("layers that drop what their side branches read keep the one input that they share", async () => {
  await initBackend({ backend: "wasm" });
  const [N, I, O, r] = [64, 32, 48, 4];
  const x = randomTensor([N, I], 1);
  const weight = tf.variable(randomTensor([O, I], 2), false);
  const loraA = randomTensor([r, I], 3), loraB = randomTensor([O, r], 4);
  const inputs = [x, loraA, loraB];
  const start = tf.memory().numDataBuffers;
  const layers = (remakes: boolean) => {
    let kept = 0;
    const { value, gradients } = valueAndGradients(() => {
      const passing = x.neg();
      const outputs = [11, 12, 13].map((key) => {
        const drop = (x: tf.Tensor) => dropout(x, 0.3, key);
        const input = drop(passing);
        const remakeInput = remakes ? drop : undefined;
        const branch = { loraA, loraB, scaling: SCALING, input, remakeInput };
        const y = linear(passing, weight, undefined, { branch });
        input.dispose();
        return y;
      });
      passing.dispose();
      kept = tf.memory().numDataBuffers - start - outputs.length;
      return tf.addN(outputs).square().sum();
    }, inputs);
    const values = [value, ...gradients].map((tensor) => tensor!.dataSync());
    tf.dispose([value, gradients as tf.Tensor[]]);
    return { kept, values };
  };
  const remade = layers(true), stored = layers(false);
  assertEquals(remade.kept, 1 + 3); // the input, and each layer's h
  assertEquals(stored.kept, 3 + 3);
  assertEquals(remade.values, stored.values);
  tf.dispose([weight, ...inputs]);
});

Deno.test("adapters get their gradients if that of the input is not needed", async () => {
  await initBackend({ backend: "wasm" });
  const options = { bias: false, gelu: false, trainsWeight: false } as const;
  for (const packed of [null, "BF16"] as const) {
    const layer: Layer = { shape: [9, 20, 12, 3], dropped: false, packed, ...options };
    const tensors = makeTensors(layer);
    const before = tf.memory().numTensors;
    const inputs = [tensors.trained.loraA, tensors.trained.loraB];
    const [got, want] = [layerOf, oracle].map((op) =>
      valueAndGradients(() => op(layer, tensors).sum(), inputs)
    );
    for (const i of [0, 1]) {
      const [gradient, expected] = [got, want].map(({ gradients }) => gradients[i]!.dataSync());
      assertClose(gradient, expected, 2e-5, `gradient ${i}`);
    }
    for (const { value, gradients } of [got, want]) {
      tf.dispose([value, ...gradients as tf.Tensor[]]);
    }
    assertEquals(tf.memory().numTensors, before, "tensors are left behind");
    free(tensors);
  }
});

Deno.test("in a 16-bit pass the branch and the activation are rounded op by op", async () => {
  await initBackend({ backend: "wasm" });
  const options = { bias: true, gelu: true, trainsWeight: true, packed: null } as const;
  const layer: Layer = { shape: [9, 20, 12, 3], dropped: false, ...options };
  const tensors = makeTensors(layer);
  const { x, weight, bias, loraA, loraB } = tensors.trained;
  const extras = { branch: { loraA, loraB, scaling: SCALING }, gelu: true };
  const results = withPrecision("bf16", () =>
    tf.tidy(() => [
      layerOf(layer, tensors),
      separateLinear(x, weight, bias, extras),
    ]));
  const exact = tf.tidy(() => layerOf(layer, tensors));
  assertEquals(results[0].dataSync(), results[1].dataSync());
  assert(results[0].dataSync().some((value, i) => value !== exact.dataSync()[i]));
  tf.dispose([...results, exact]);
  free(tensors);
});

Deno.test("a side branch of other shapes is refused with the shapes", async () => {
  await initBackend({ backend: "wasm" });
  const [x, weight] = [tf.zeros([3, 4]), tf.zeros([5, 4])];
  const [loraA, loraB] = [tf.zeros([2, 4]), tf.zeros([5, 2])];
  const call = (branch: { loraA?: tf.Tensor; loraB?: tf.Tensor; input?: tf.Tensor }) => () =>
    linear(x, weight, undefined, { branch: { loraA, loraB, scaling: 1, ...branch } });
  assertThrows(
    call({ loraB: tf.zeros([5, 3]) }),
    Error,
    "A [2,4] and B [5,3] to a linear layer [5,4]: they must be [r, 4] and [5, r]",
  );
  assertThrows(call({ loraA: tf.zeros([2, 3]) }), Error, "A [2,3]");
  assertThrows(
    call({ input: tf.zeros([2, 4]) }),
    Error,
    "its input is [2,4], the layer's is [3,4]",
  );
});
