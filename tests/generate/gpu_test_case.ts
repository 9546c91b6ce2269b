/** Tests that run on each backend that this machine has. */
import { assertNoGpuErrors, clearGpuErrors } from "../../src/device/gpu_errors.ts";
import { type BackendChoice, initBackend } from "../../src/device/backend.ts";
import { gpuIgnored } from "../gpu_adapter.ts";

/** Registers a test on wasm, on tfjs's plain backend, and on WebGPU if there is an adapter. */
export function onEachBackend(
  name: string,
  body: (backend: BackendChoice) => Promise<void>,
  backends: readonly BackendChoice[] = ["wasm", "cpu", "webgpu"],
): void {
  for (const backend of backends) {
    Deno.test({
      name: `${name} (${backend})`,
      ignore: backend === "webgpu" && gpuIgnored,
      // A GPU device keeps a poller alive that Deno's sanitizers take for a leak.
      sanitizeOps: false,
      sanitizeResources: false,
      async fn() {
        clearGpuErrors();
        const started = await initBackend({ backend });
        try {
          await body(backend);
        } finally {
          started.dispose();
        }
        assertNoGpuErrors();
      },
    });
  }
}
