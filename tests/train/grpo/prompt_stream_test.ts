import { assert, assertEquals } from "@std/assert";
import { datasetFromRows } from "../../../src/data/load_dataset.ts";
import type { Row } from "../../../src/data/rows/row.ts";
import { initBackend } from "../../../src/device/backend.ts";
import {
  GRPOPromptStream,
  type GRPOPromptStreamOptions,
} from "../../../src/train/grpo/prompt_stream.ts";
import { GRPOPromptMaker } from "../../../src/train/grpo/prompts.ts";
import { prepareModel } from "../../../src/train/run/prepare_model.ts";
import { exampleParts } from "../../../src/train/batches/example_parts.ts";
import { shapeRows, tinyConfig } from "./tiny_grpo.ts";

await initBackend({ backend: "wasm" });
const prepared = await prepareModel(tinyConfig().model, 1);
const maker = new GRPOPromptMaker(exampleParts(prepared, 0), 64);

/** Some rows, one of them with a picture that is cut short. */
function rowsWithBad(): Row[] {
  const rows = shapeRows(7);
  const [picture] = rows[9].images as Uint8Array[];
  rows[9] = { ...rows[9], images: [picture.slice(0, 40)] };
  return rows;
}

async function stream(options: Partial<GRPOPromptStreamOptions> = {}) {
  const dataset = await datasetFromRows(rowsWithBad(), { format: "grpo", name: "shapes" });
  return { dataset, prompts: new GRPOPromptStream(dataset, maker, { seed: 5, ...options }) };
}

/** The next prompts, with the cursor after each and the rows that were skipped by then. */
async function take({ prompts, dataset }: Awaited<ReturnType<typeof stream>>, count: number) {
  const taken: unknown[] = [];
  for (let i = 0; i < count; i++) {
    const { ids, cursor, images } = await prompts.next();
    taken.push({
      ids,
      cursor,
      tiles: images.length,
      behind: prompts.cursor,
      skipped: dataset.skipped.count,
    });
  }
  return taken;
}

Deno.test("prompts made ahead are those made when asked for: cursors and skipped rows too", async () => {
  const wanted = await take(await stream(), 60);
  for (const ahead of [1, 4, 100]) {
    const made = await stream({ ahead });
    assertEquals(await take(made, 60), wanted, `${ahead} ahead`);
    await made.prompts.release();
  }
});

Deno.test("prompts go on from a cursor, though others were being made", async () => {
  const wanted = await take(await stream(), 60);
  for (const options of [{ ahead: 5 }, { ahead: 0 }]) {
    const first = await stream(options);
    await take(first, 30);
    const { cursor } = first.prompts;
    await first.prompts.release();
    const second = await stream(options);
    second.prompts.seek(cursor);
    const strip = (taken: unknown[]) => taken.map((one) => ({ ...one as object, skipped: 0 }));
    assertEquals(strip(await take(second, 30)), strip(wanted.slice(30)));
    await second.prompts.release();
    assertEquals(await take(first, 30), wanted.slice(30), "the first goes on as well");
    await first.prompts.release();
  }
});

Deno.test("prompts grouped by length come each once an epoch, others than at random", async () => {
  const usable = rowsWithBad().length - 1;
  const grouped = await take(await stream({ lengthBatch: 3 }), usable);
  const random = await take(await stream(), usable);
  const ids = (taken: unknown[]) => taken.map((one) => (one as { ids: number[] }).ids.join());
  assertEquals(ids(grouped).toSorted(), ids(random).toSorted());
  assert(ids(grouped).join("/") !== ids(random).join("/"));
});
