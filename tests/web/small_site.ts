/** A small model in 16 bits, what Deno answers with it, and its exported site. */
import { embeddedShapes } from "../../src/data/embedded/embedded_shapes.ts";
import { encodePng } from "../../src/data/embedded/embedded_shapes_png.ts";
import { loadModel } from "../../src/generate/load_model.ts";
import { saveModel } from "../../src/model/files/save_pretrained.ts";
import { exportSite } from "../../src/web/export_site.ts";
import { talkingModel } from "../generate/talking_model.ts";

/** A question about a drawn picture. */
export interface DrawnQuestion {
  readonly png: Uint8Array<ArrayBuffer>;
  readonly prompt: string;
}

/** Questions about drawn pictures. */
export const QUESTIONS: readonly DrawnQuestion[] = embeddedShapes({ seed: 1 }).test.slice(0, 3)
  .map(({ image }, i) => ({
    png: encodePng(image) as Uint8Array<ArrayBuffer>,
    prompt: ["Which shape is this?", "What colour is it?", "Where is it?"][i],
  }));

/** Longest answers of the tests, in tokens. */
export const LONGEST = 12;

/** What Deno answers, greedily. */
export async function answersOf(model: string): Promise<{ text: string; tokens: number[] }[]> {
  const loaded = await loadModel(model);
  try {
    const answers: { text: string; tokens: number[] }[] = [];
    for (const { prompt, png } of QUESTIONS) {
      const [{ text, tokens }] = await loaded.model.generate({ prompt, images: [png] }, {
        greedy: true,
        maxNewTokens: LONGEST,
      });
      answers.push({ text, tokens });
    }
    return answers;
  } finally {
    loaded.model.dispose();
  }
}

/** A folder with a model (`model/`) and its site (`host/below/it/`), removed at the end. */
export async function smallSite(): Promise<AsyncDisposable & { readonly folder: string }> {
  const folder = await Deno.makeTempDir({ prefix: "nanovlm_web_test_" });
  const { model } = await talkingModel();
  try {
    await saveModel(model, `${folder}/model`, { dtype: "F16" });
  } finally {
    model.dispose();
  }
  await exportSite(`${folder}/model`, `${folder}/host/below/it`, { name: "small" });
  return {
    folder,
    [Symbol.asyncDispose]: () => Deno.remove(folder, { recursive: true }),
  };
}
