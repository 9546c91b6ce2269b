import { assertEquals, assertRejects } from "@std/assert";
import { HubError } from "../../src/hub/hub_error.ts";
import { resolveModelFolder } from "../../src/hub/model_folder.ts";

Deno.test("the folder of a run stands for its final model; without one its newest checkpoint is named", async () => {
  const run = await Deno.makeTempDir();
  try {
    assertEquals(await resolveModelFolder(run), run); // any folder as it is
    await Deno.writeTextFile(`${run}/config.resolved.yaml`, "");
    await assertRejects(() => resolveModelFolder(run), HubError, "no checkpoint either");
    for (const step of [9, 10]) await Deno.mkdir(`${run}/checkpoint-${step}`);
    await assertRejects(() => resolveModelFolder(run), HubError, `${run}/checkpoint-10`);
    await Deno.mkdir(`${run}/final_model`);
    await Deno.writeTextFile(`${run}/final_model/adapter_config.json`, "{}");
    assertEquals(await resolveModelFolder(`${run}/`), `${run}/final_model`);
    await Deno.writeTextFile(`${run}/config.json`, "{}");
    assertEquals(await resolveModelFolder(run), run);
  } finally {
    await Deno.remove(run, { recursive: true });
  }
});
