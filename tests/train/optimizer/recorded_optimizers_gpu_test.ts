import { initBackend } from "../../../src/device/backend.ts";
import { gpuTest } from "../../gpu_adapter.ts";
import { replay, REPLAYS } from "./recorded_optimizers.ts";

for (const [name, options, replayed] of REPLAYS) {
  gpuTest(`${name}: every recorded step on webgpu, resumed and scaled as in fp16 too`, async () => {
    await initBackend({ backend: "webgpu" });
    await replay(name, options, replayed);
    await replay(name, options, { ...replayed, resume: true, lossScale: 1024 });
  });
}
