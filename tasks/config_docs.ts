/**
 * Writes `configs/README.md` out of the schema. Run by `deno task config-docs`.
 *
 * @module
 */
import { configReference } from "../src/config/reference.ts";

if (import.meta.main) {
  await Deno.writeTextFile(
    new URL("../configs/README.md", import.meta.url),
    configReference(),
  );
}
