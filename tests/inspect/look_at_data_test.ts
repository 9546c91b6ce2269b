import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import {
  embeddedShapes,
  shapesGrpoRows,
  shapesPreferenceRows,
  shapesVqaRows,
} from "../../src/data/embedded/embedded_shapes.ts";
import { datasetFromRows } from "../../src/data/load_dataset.ts";
import { renderDataPage } from "../../src/inspect/data_page.ts";
import { lookAtData, type ModelEyes } from "../../src/inspect/look_at_data.ts";
import { summaryRows } from "../../src/inspect/summary.ts";
import { talkingModel } from "../generate/talking_model.ts";

const PICTURES = embeddedShapes({ seed: 3, trainPictures: 4, testPictures: 1 }).train;

async function eyesOfModel(): Promise<ModelEyes> {
  const { model, tokenizer, imageProcessor } = await talkingModel();
  const { mp_image_token_length: tokensPerTile } = model.config;
  model.dispose();
  return { tokenizer, imageProcessor, tokensPerTile };
}

Deno.test("lookAtData() shows the loss on answers alone, and the tiles that the model gets", async () => {
  const rows = shapesVqaRows(PICTURES);
  const dataset = await datasetFromRows(rows, { format: "vqa", name: "shapes" });
  const eyes = await eyesOfModel();
  const look = await lookAtData(dataset, "vqa", { eyes, rows: 2, measured: 3 });
  assertEquals(look.rows.length, 2);
  assertEquals(look.lengths!.length, 3);
  assertEquals([...look.pictureCounts], [[1, 4]]);
  const [{ texts: [{ tokens }], tiles, pictures }] = look.rows;
  const lossText = tokens!.filter(({ carriesLoss }) => carriesLoss).map(({ text }) => text).join(
    "",
  );
  const [first] = rows[0].texts as { user: string; assistant: string }[];
  assertStringIncludes(lossText, first.assistant);
  assert(!lossText.includes(first.user));
  assertEquals(tokens!.filter(({ isImage }) => isImage).length, eyes.tokensPerTile);
  assertEquals([tiles.length, pictures.length], [1, 1]);
  assertEquals([tiles[0].rows, tiles[0].columns, tiles[0].whole], [1, 1, null]);
});

Deno.test("lookAtData() marks the tokens that train_on_prompt and last_turn_only count", async () => {
  const rows = shapesVqaRows(PICTURES);
  const dataset = await datasetFromRows(rows, { format: "vqa", name: "shapes" });
  const eyes = await eyesOfModel();
  const turns = rows[0].texts as { user: string; assistant: string }[];
  assert(turns.length > 1);
  const marked = async (lossTokens: "all" | "last_answer") => {
    const look = await lookAtData(dataset, "vqa", { eyes, rows: 1, measured: 1, lossTokens });
    return look.rows[0].texts[0].tokens!.filter(({ carriesLoss }) => carriesLoss);
  };
  const all = await marked("all");
  const text = all.map(({ text }) => text).join("");
  for (const { user, assistant } of turns) {
    assertStringIncludes(text, user);
    assertStringIncludes(text, assistant);
  }
  assert(all.every(({ isImage }) => !isImage));
  const last = (await marked("last_answer")).map(({ text }) => text).join("");
  assert(last.startsWith(turns.at(-1)!.assistant), last);
});

Deno.test("lookAtData() shows both answers of a preference and the prompt of GRPO", async () => {
  const eyes = await eyesOfModel();
  const options = { eyes, rows: 1, measured: 1 };
  const preference = await datasetFromRows(shapesPreferenceRows(PICTURES), {
    format: "preference",
  });
  const [pair] = (await lookAtData(preference, "preference", options)).rows;
  assertEquals(pair.texts.map(({ name }) => name), ["chosen", "rejected"]);
  assert(pair.texts.every(({ tokens }) => tokens!.some(({ carriesLoss }) => carriesLoss)));
  const grpo = await datasetFromRows(shapesGrpoRows(PICTURES), { format: "grpo" });
  const [prompt] = (await lookAtData(grpo, "grpo", options)).rows;
  assertEquals(prompt.texts.map(({ name }) => name), ["prompt"]);
  assert(prompt.texts[0].tokens!.every(({ carriesLoss }) => !carriesLoss));
});

Deno.test("without a model texts are shown as they are; a damaged picture is skipped with its reason", async () => {
  const rows = shapesVqaRows(embeddedShapes({ trainPictures: 30, testPictures: 1 }).train);
  const broken = [...rows, { ...rows[0], images: [new Uint8Array(20)] }];
  const dataset = await datasetFromRows(broken, { format: "vqa" });
  const plain = await lookAtData(dataset, "vqa", { eyes: null, rows: 1, measured: 100 });
  assertEquals(plain.lengths, null);
  assertStringIncludes(plain.rows[0].texts[0].text, "user: ");
  const seen = await lookAtData(dataset, "vqa", {
    eyes: await eyesOfModel(),
    rows: 1,
    measured: 100,
  });
  assertEquals(seen.skipped.length, 1);
  assertStringIncludes(seen.skipped[0].reason, "Cannot decode");
  const summary = new Map(summaryRows(seen));
  assertStringIncludes(summary.get("skipped")!, "1: 1 × ");
});

Deno.test("renderDataPage() escapes what the data says and marks the loss", async () => {
  const rows = [{
    images: shapesVqaRows(PICTURES)[0].images,
    texts: [{ user: "<script>alert(1)</script>", assistant: "no" }],
  }];
  const dataset = await datasetFromRows(rows, { format: "vqa", name: "<b>name</b>" });
  const page = await renderDataPage(
    await lookAtData(dataset, "vqa", { eyes: await eyesOfModel(), rows: 1, measured: 1 }),
  );
  assert(!page.includes("<script"));
  assert(!page.includes("<b>name"));
  assertStringIncludes(page, 'class="token loss"');
  assertStringIncludes(page, "data:image/png;base64,");
});

Deno.test("lookAtData() shows pictures as augmentation changes them, and the page has them", async () => {
  const rows = shapesVqaRows(PICTURES).slice(0, 2);
  const dataset = await datasetFromRows(rows, { format: "vqa" });
  const augmentation = {
    ...{ crop: 0, flip: 0, rotate: 20, colour: 0, blur: 0, jpegQuality: null },
    seed: 1,
  };
  const seen = await lookAtData(dataset, "vqa", { eyes: null, rows: 2, measured: 0, augmentation });
  const [urls] = seen.rows[0].changed;
  assertEquals([seen.rows.length, urls.length, new Set(urls).size], [2, 4, 4]);
  assertStringIncludes(await renderDataPage(seen), "augmented, epochs 1 to 4");
  const plain = await lookAtData(dataset, "vqa", { eyes: null, rows: 2, measured: 0 });
  assertEquals(plain.rows[0].changed, []);
});
