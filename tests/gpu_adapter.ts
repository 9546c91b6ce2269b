/**
 * Tests that need a GPU adapter; a software adapter is enough. Without an adapter they are skipped
 * and say why, or fail if NANOVLM_REQUIRE_GPU=1 is set.
 *
 * @module
 */
import { requestGpu } from "../src/device/adapter.ts";
import { activeBackend } from "../src/device/backend.ts";

// libEGL can crash as a test run exits; Vulkan alone does not load it (docs/runs/exit_crash.md).
if (Deno.build.os === "linux" && !Deno.env.has("DENO_WEBGPU_BACKEND")) {
  Deno.env.set("DENO_WEBGPU_BACKEND", "vulkan");
}
const probe = await requestGpu();
if ("device" in probe) probe.destroy();

/** Why there is no adapter; null if there is one. */
export const gpuMissing: string | null = "reason" in probe ? probe.reason : null;

const required = Deno.env.get("NANOVLM_REQUIRE_GPU") === "1";

/** Whether GPU tests are skipped. */
export const gpuIgnored: boolean = gpuMissing !== null && !required;
if (gpuIgnored) console.error(`GPU tests are skipped: ${gpuMissing}`);

/** Registers a test that needs an adapter. */
export function gpuTest(name: string, body: () => Promise<void>): void {
  Deno.test({
    name: gpuIgnored ? `${name} (skipped: ${gpuMissing})` : name,
    ignore: gpuIgnored,
    // A GPU device keeps a poller alive that Deno's sanitizers take for a leak.
    sanitizeOps: false,
    sanitizeResources: false,
    async fn() {
      if (gpuMissing !== null) {
        throw new Error(`NANOVLM_REQUIRE_GPU is 1, but there is no adapter: ${gpuMissing}`);
      }
      try {
        await body();
      } finally {
        // A device that is still at work while the process ends may take it down with it.
        if (activeBackend()?.name === "webgpu") activeBackend()!.dispose();
      }
    },
  });
}
