/**
 * Writes `src/config/embedded/embedded_configs.ts` out of `configs/shapes_*.yaml`, so that the defaults are modules.
 * Run by `deno task embed-configs` after a change to one of them.
 *
 * @module
 */
import { embeddedModule } from "../src/config/embedded/embedded_module.ts";

if (import.meta.main) {
  const texts: Record<string, string> = {};
  for (const trainer of ["sft", "dpo", "grpo", "gkd"]) {
    const file = new URL(`../configs/shapes_${trainer}.yaml`, import.meta.url);
    texts[trainer] = await Deno.readTextFile(file);
  }
  await Deno.writeTextFile(
    new URL("../src/config/embedded/embedded_configs.ts", import.meta.url),
    embeddedModule(texts),
  );
}
