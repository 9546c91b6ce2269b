/**
 * Writes `configs/README.md` and `docs/trl_keys.md` out of the schema. Run by
 * `deno task config-docs`.
 *
 * @module
 */
import { configReference } from "../src/config/reference.ts";
import { trlReference } from "../src/config/trl_reference.ts";

if (import.meta.main) {
  await Deno.writeTextFile(
    new URL("../configs/README.md", import.meta.url),
    configReference(),
  );
  const fields = await Deno.readTextFile(new URL("../docs/trl_fields.json", import.meta.url));
  await Deno.writeTextFile(
    new URL("../docs/trl_keys.md", import.meta.url),
    trlReference(JSON.parse(fields)),
  );
}
