/** A small model, what Deno answers with its weights in 16 bits, and its exported site. */
import * as tf from "@tensorflow/tfjs";
import { embeddedShapes } from "../../src/data/embedded/embedded_shapes.ts";
import { encodePng } from "../../src/data/embedded/embedded_shapes_png.ts";
import { loadModel } from "../../src/generate/load_model.ts";
import { saveModel } from "../../src/model/files/save_pretrained.ts";
import { exportSite, type ExportSiteOptions } from "../../src/web/export_site.ts";
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

/**
 * What Deno answers, greedily, on the current backend.
 *
 * @param options `round`: with matrices rounded to float16, the default
 */
export async function answersOf(
  model: string,
  { questions = QUESTIONS, round = true }: {
    readonly questions?: readonly DrawnQuestion[];
    readonly round?: boolean;
  } = {},
): Promise<{ text: string; tokens: number[] }[]> {
  const loaded = await loadModel(model);
  try {
    for (const tensor of loaded.model.weights.values()) {
      if (!round || tensor.rank < 2) continue;
      const rounded = Float32Array.from(new Float16Array(await tensor.data() as Float32Array));
      tf.tidy(() => tensor.assign(tf.tensor(rounded, tensor.shape)));
    }
    const answers: { text: string; tokens: number[] }[] = [];
    for (const { prompt, png } of questions) {
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

/** A folder with a model and its site. */
export interface SmallSite extends AsyncDisposable {
  /** The model's folder. */
  readonly model: string;
  /** What a host serves; the site is below it, in `below/it/`. */
  readonly root: string;
}

/**
 * Exports a site, which is removed at the end.
 *
 * @param options of the export; `model`: a model's folder, default: a model that is made on the
 *   spot, in float32; `width`: the dim of its language model
 */
export async function smallSite(
  { model, width, ...options }: ExportSiteOptions & {
    readonly model?: string;
    readonly width?: number;
  } = {},
): Promise<SmallSite> {
  const folder = await Deno.makeTempDir({ prefix: "nanovlm_web_test_" });
  if (model === undefined) {
    const { model } = await talkingModel(width);
    await saveModel(model, `${folder}/model`);
    model.dispose();
  }
  const source = model ?? `${folder}/model`;
  await exportSite(source, `${folder}/host/below/it`, { name: "small", ...options });
  return {
    model: source,
    root: `${folder}/host`,
    [Symbol.asyncDispose]: () => Deno.remove(folder, { recursive: true }),
  };
}
