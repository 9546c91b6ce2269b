/**
 * Writes `src/config/embedded/embedded_configs.ts` out of the files of `configs/`, so that the
 * defaults are modules.
 * Run by `deno task embed-configs` after a change to one of them.
 *
 * @module
 */
import { embeddedModule, fileOf } from "../src/config/embedded/embedded_module.ts";

if (import.meta.main) {
  const texts: Record<string, string> = {};
  for (const name of ["drawings", "sft", "dpo", "grpo", "gkd"]) {
    const file = new URL(`../configs/${fileOf(name)}`, import.meta.url);
    texts[name] = await Deno.readTextFile(file);
  }
  await Deno.writeTextFile(
    new URL("../src/config/embedded/embedded_configs.ts", import.meta.url),
    embeddedModule(texts),
  );
}
