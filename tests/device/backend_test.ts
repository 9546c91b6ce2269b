import { assert, assertEquals, assertRejects } from "@std/assert";
import * as tf from "@tensorflow/tfjs";
import { isSoftwareAdapter, requestGpu } from "../../src/device/adapter.ts";
import { activeBackend, type BackendChoice, initBackend } from "../../src/device/backend.ts";
import { gpuTest } from "../gpu_adapter.ts";

Deno.test("isSoftwareAdapter() knows a CPU that plays a GPU by its flag or its name", () => {
  const named = (description: string) => isSoftwareAdapter({ description });
  assert(isSoftwareAdapter({ description: "Something", isFallbackAdapter: true }));
  assert(named("llvmpipe (LLVM 15.0.6, 256 bits)"));
  assert(named("SwiftShader Device (Subzero)"));
  assert(named("Microsoft Basic Render Driver"));
  assert(!named("NVIDIA GeForce RTX 4090"));
  assert(!named("Apple M2"));
});

Deno.test("initBackend() starts wasm and cpu, and says that they were asked for", async () => {
  for (const name of ["wasm", "cpu"] as const) {
    const backend = await initBackend({ backend: name });
    assertEquals(backend.name, name);
    assertEquals(tf.getBackend(), name);
    assertEquals(activeBackend(), backend);
    assertEquals(backend.adapterInfo, null);
    assert(backend.reason.startsWith(`${name}: asked for`));
    backend.dispose();
    assertEquals(activeBackend(), null);
  }
});

Deno.test("initBackend() with auto takes no software adapter, and says why", async () => {
  const gpu = await requestGpu();
  const hardware = "device" in gpu && !gpu.info.software;
  if ("device" in gpu) gpu.destroy();
  const backend = await initBackend();
  assertEquals(backend.name, hardware ? "webgpu" : "wasm");
  assert(backend.reason.startsWith(`${backend.name}: `) && backend.reason.length > 20);
  backend.dispose();
});

/** Runs `body` with an adapter that claims to be hardware. */
async function asHardware(body: () => Promise<void>): Promise<void> {
  const request = navigator.gpu.requestAdapter.bind(navigator.gpu);
  const info = { description: "Some Hardware", vendor: "", architecture: "", device: "" };
  const pretending = (adapter: GPUAdapter) =>
    new Proxy(adapter, {
      get(target, name) {
        if (name === "info") return info;
        const value = Reflect.get(target, name, target);
        return typeof value === "function" ? value.bind(target) : value;
      },
    });
  Object.defineProperty(navigator.gpu, "requestAdapter", {
    configurable: true,
    value: async (options?: GPURequestAdapterOptions) => pretending((await request(options))!),
  });
  try {
    await body();
  } finally {
    Reflect.deleteProperty(navigator.gpu, "requestAdapter");
  }
}

gpuTest(
  "initBackend() with auto keeps a hardware adapter that is up, and its tensors",
  async () => {
    await asHardware(async () => {
      for (const first of ["auto", "webgpu"] as const) {
        const backend = await initBackend({ backend: first });
        assertEquals(backend.name, "webgpu");
        const x = tf.tensor1d([1, 2, 3]).add(1);
        assertEquals(await initBackend(), backend);
        assertEquals([...await x.data()], [2, 3, 4]);
        x.dispose();
        backend.dispose();
      }
      // wasm was asked for, which is not what auto takes here.
      await initBackend({ backend: "wasm" });
      const chosen = await initBackend();
      assertEquals(chosen.name, "webgpu");
      chosen.dispose();
    });
  },
);

Deno.test("initBackend() with auto keeps what auto chose before", async () => {
  const backend = await initBackend();
  assertEquals(await initBackend(), backend);
  backend.dispose();
  const next = await initBackend();
  assert(next !== backend);
  next.dispose();
});

Deno.test("initBackend() refuses a name that is no backend", async () => {
  await assertRejects(
    () => initBackend({ backend: "cuda" as BackendChoice }),
    TypeError,
    'Cannot start backend "cuda": expected one of auto, webgpu, wasm, cpu.',
  );
});

Deno.test("a tensor made on one CPU backend is read on the other", async () => {
  await initBackend({ backend: "cpu" });
  const x = tf.tensor2d([1, 2, 3, 4], [2, 2]);
  await initBackend({ backend: "wasm" });
  assertEquals([...tf.tidy(() => tf.matMul(x, x).dataSync())], [7, 10, 15, 22]);
  x.dispose();
});

Deno.test("without any adapter, auto runs on wasm and webgpu fails with the reason", async () => {
  const script = `
    const { initBackend } = await import(${
    JSON.stringify(new URL("../../src/device/backend.ts", import.meta.url).href)
  });
    const auto = await initBackend();
    const message = await initBackend({ backend: "webgpu" }).then(() => "started", (e) => e.message);
    console.log(JSON.stringify([auto.name, auto.reason, message]));
  `;
  const config = new URL("../../deno.json", import.meta.url).pathname;
  const child = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--config", config, "--ext=ts", "-"],
    env: { DENO_WEBGPU_BACKEND: "none" },
    stdin: "piped",
    stdout: "piped",
    stderr: "null",
  }).spawn();
  const writer = child.stdin.getWriter();
  await writer.write(new TextEncoder().encode(script));
  await writer.close();
  const { stdout } = await child.output();
  const [name, reason, message] = JSON.parse(new TextDecoder().decode(stdout));
  assertEquals(name, "wasm");
  const wanted = "wasm: no WebGPU adapter (DENO_WEBGPU_BACKEND=none limits the choice)";
  assert(reason.startsWith(wanted), reason);
  assert(message.startsWith("Cannot start the webgpu backend: no WebGPU adapter"), message);
});
