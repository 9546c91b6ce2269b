/**
 * Replays `smolvlm/`: prompts, pixels, logits, losses, gradients and greedy tokens of SmolVLM's
 * folders, and an adapter of PEFT.
 *
 * @module
 */
import { readBack } from "../../device/read_back.ts";
import { generateTokens } from "../../generate/engine.ts";
import { VisionLanguageModel } from "../../generate/vision_language_model.ts";
import type { ImageProcessor, ProcessedImage } from "../../image/image_processor.ts";
import { familyOf } from "../../model/families/families.ts";
import { SmolVLMImageProcessor } from "../../model/families/smolvlm/image_processor.ts";
import { readSafetensors } from "../../model/safetensors/safetensors.ts";
import { ChatExampleBuilder } from "../../text/chat_example.ts";
import { compareNumbers } from "../compare_numbers.ts";
import { IGNORED_LABEL } from "../../ignored_label.ts";
import { exists, type Fixture, floats } from "../fixture_model.ts";
import type { ParityResult } from "../result.ts";
import { exactCase } from "./exact_case.ts";
import { compareGradient, lossAndGradients } from "./model_cases.ts";

interface SmolVLMCase {
  images: string[];
  content: { type: string; text?: string }[];
  answer: string;
  rows_cols: [number, number][];
  chat_text: string;
  prompt_text: string;
  input_ids: number[];
  labels: number[];
  prompt_length: number;
  loss: number;
  grad_norms: Record<string, number>;
  generated_ids: number[];
  margins: number[];
}

interface SmolVLMFile {
  kind: string;
  image_seq_len: number;
  do_image_splitting?: boolean;
  cases: SmolVLMCase[];
}

const LOGITS = { relative: 1e-4, absolute: 1e-4 };
/** One level of 8 bits after normalizing. */
const PIXEL_STEP = 1 / 127.5;
/** Most values of a picture that may be off by a step. */
const PIXELS_OFF = 1e-3;
/** Where the best two logits are closer than rounding, either token may come. */
const CLOSE = 1e-3;

/** A picture's tiles: none more than a step off, few off at all. */
function comparePixels(name: string, actual: Float32Array, expected: Float32Array): ParityResult[] {
  let off = 0;
  expected.forEach((value, i) => Math.abs(value - actual[i]) > 1e-5 && off++);
  return [
    compareNumbers(name, "pixels", actual, expected, { absolute: 1.01 * PIXEL_STEP }),
    compareNumbers(name, "share of pixels off", [off / expected.length], [0], {
      absolute: PIXELS_OFF,
    }),
  ];
}

function joined(images: readonly ProcessedImage[]): Float32Array {
  const all = new Float32Array(images.reduce((sum, { tiles }) => sum + tiles.length, 0));
  let to = 0;
  for (const { tiles } of images) {
    all.set(tiles, to);
    to += tiles.length;
  }
  return all;
}

/** Whether a tensor's exact gradient is zero: a key's bias moves all scores of a query alike. */
function isKeyBias(name: string): boolean {
  return name.endsWith("k_proj.bias");
}

/** The inputs of a case, from texts and picture files alone. */
async function caseInputs(
  model: VisionLanguageModel,
  processor: ImageProcessor,
  recorded: SmolVLMCase,
  pictures: string,
) {
  const tokenizer = model.tokenizer!;
  const images: ProcessedImage[] = [];
  for (const file of recorded.images) {
    images.push(await processor.process(await Deno.readFile(`${pictures}/${file}`)));
  }
  const grids = images.map(({ grid }) => grid);
  const mark = tokenizer.promptFormat.imageMark ?? "";
  const content = recorded.content.map(({ type, text }) => type === "image" ? mark : text ?? "")
    .join("");
  const builder = new ChatExampleBuilder(tokenizer, {
    mpImageTokenLength: model.config.mp_image_token_length,
  });
  const question = { role: "user", content };
  return {
    images,
    grids,
    prompt: builder.buildPrompt([question], grids),
    example: builder.build([question, { role: "assistant", content: recorded.answer }], grids),
    chatText: tokenizer.applyChatTemplate([
      question,
      { role: "assistant", content: recorded.answer },
    ]),
  };
}

async function logitsOf(
  model: VisionLanguageModel,
  inputIds: readonly number[],
  images: readonly ProcessedImage[],
): Promise<Float32Array> {
  const { logits } = model.forward({ inputIds: [inputIds], images, returnLogits: true });
  const [values] = await readBack([logits!]);
  logits!.dispose();
  return values as Float32Array;
}

async function replayCase(
  name: string,
  model: VisionLanguageModel,
  processor: ImageProcessor,
  recorded: SmolVLMCase,
  fixture: { tensors: Fixture; index: number; pictures: string },
): Promise<ParityResult[]> {
  const { tensors, index, pictures } = fixture;
  const { images, grids, prompt, example, chatText } = await caseInputs(
    model,
    processor,
    recorded,
    pictures,
  );
  const results = [
    exactCase(name, "rows and columns", grids.flat(), recorded.rows_cols.flat()),
    exactCase(name, "input_ids", example.inputIds, recorded.input_ids),
    exactCase(name, "labels", example.labels, [...recorded.labels.slice(1), IGNORED_LABEL]),
    exactCase(name, "prompt", prompt, recorded.input_ids.slice(0, recorded.prompt_length)),
    exactCase(
      name,
      "chat text",
      chatText,
      recorded.chat_text.replaceAll(model.tokenizer!.promptFormat.imageMark ?? "\0", ""),
    ),
  ];
  const pixels = `case${index}.pixel_values`;
  if (tensors.has(pixels)) {
    results.push(...comparePixels(name, joined(images), floats(tensors, pixels)));
  }
  if (tensors.has(`case${index}.logits`)) {
    const actual = await logitsOf(model, recorded.input_ids, images);
    results.push(
      compareNumbers(name, "logits", actual, floats(tensors, `case${index}.logits`), LOGITS),
    );
  }
  results.push(...await replayGradients(name, model, recorded, images, example.labels, fixture));
  results.push(...await replayGreedy(name, model, recorded, images));
  return results;
}

async function replayGradients(
  name: string,
  model: VisionLanguageModel,
  recorded: SmolVLMCase,
  images: readonly ProcessedImage[],
  labels: readonly number[],
  { tensors, index }: { tensors: Fixture; index: number },
): Promise<ParityResult[]> {
  const family = familyOf(model.config);
  const { loss, gradients } = await lossAndGradients(
    () => model.forward({ inputIds: [recorded.input_ids], images, labels: [labels] }).loss!,
    model.weights,
  );
  const tied = model.config.lm_tie_weights ? "model.text_model.embed_tokens.weight" : null;
  const gradientOf = (file: string) =>
    gradients.get(file === tied ? "decoder.head.weight" : family.toModelName(file)) ??
      new Float32Array(0);
  const norms = Object.keys(recorded.grad_norms).filter((file) => !isKeyBias(file));
  const results = [compareNumbers(name, "loss", [loss], [recorded.loss], { relative: 1e-5 })];
  results.push(compareNumbers(
    name,
    "gradient norms",
    norms.map((file) => Math.sqrt(gradientOf(file).reduce((sum, g) => sum + g * g, 0))),
    norms.map((file) => recorded.grad_norms[file]),
    { relative: 1e-4, absolute: 1e-6 },
  ));
  const prefix = `case${index}.grad.`;
  for (const key of tensors.keys()) {
    const file = key.slice(prefix.length);
    if (!key.startsWith(prefix) || isKeyBias(file)) continue;
    results.push(compareGradient(name, file, gradientOf(file), floats(tensors, key)));
  }
  return results;
}

async function replayGreedy(
  name: string,
  model: VisionLanguageModel,
  recorded: SmolVLMCase,
  images: readonly ProcessedImage[],
): Promise<ParityResult[]> {
  const [{ tokens }] = await generateTokens(
    model,
    { inputIds: [recorded.input_ids.slice(0, recorded.prompt_length)], images },
    {
      maxNewTokens: recorded.generated_ids.length,
      greedy: true,
      stopTokenIds: [],
      // Transformers' generate() forbids none.
      forbiddenTokenIds: [],
    },
  );
  const close = recorded.margins.findIndex((margin) => margin < CLOSE);
  const compared = close < 0 ? recorded.generated_ids.length : close;
  return [exactCase(
    name,
    "greedy tokens",
    tokens.slice(0, compared),
    recorded.generated_ids.slice(0, compared),
  )];
}

/** The processor of a file: with or without splitting, as the file says. */
function processorOf(model: VisionLanguageModel, { do_image_splitting }: SmolVLMFile) {
  const processor = model.imageProcessor!;
  return processor instanceof SmolVLMImageProcessor && do_image_splitting !== undefined
    ? new SmolVLMImageProcessor({ ...processor.smolVLM, splitting: do_image_splitting })
    : processor;
}

/** Logits with the adapter of `lora/`, on the cases of its base model. */
async function replayAdapter(
  folder: string,
  kind: string,
  file: SmolVLMFile,
  pictures: string,
): Promise<ParityResult[]> {
  const tensors = await readSafetensors(`${folder}/lora.safetensors`);
  const model = await VisionLanguageModel.fromPretrained(`${folder}/${kind}`, {
    adapter: `${folder}/lora`,
    onWarning: () => {},
  });
  try {
    const results: ParityResult[] = [];
    for (const [index, recorded] of file.cases.entries()) {
      if (!tensors.has(`case${index}.logits`)) continue;
      const name = `smolvlm/lora[${index}]`;
      const { images } = await caseInputs(model, processorOf(model, file), recorded, pictures);
      const actual = await logitsOf(model, recorded.input_ids, images);
      const expected = floats(tensors, `case${index}.logits`);
      results.push(compareNumbers(name, "logits", actual, expected, LOGITS));
    }
    return results;
  } finally {
    model.dispose();
  }
}

/**
 * Replays every recorded file of `smolvlm/` on the current backend.
 *
 * @param directory the fixtures folder
 */
export async function replaySmolVLMCases(directory: string): Promise<ParityResult[]> {
  const folder = `${directory}/smolvlm`, pictures = `${directory}/preprocess/images`;
  const names: string[] = [];
  for await (const { name } of Deno.readDir(folder)) {
    if (name.endsWith(".json")) names.push(name.slice(0, -".json".length));
  }
  const results: ParityResult[] = [];
  for (const name of names.sort()) {
    const file: SmolVLMFile = JSON.parse(await Deno.readTextFile(`${folder}/${name}.json`));
    const tensors = await readSafetensors(`${folder}/${name}.safetensors`);
    const model = await VisionLanguageModel.fromPretrained(`${folder}/${file.kind}`, {
      onWarning: () => {},
    });
    const perTile = model.config.mp_image_token_length;
    results.push(exactCase(`smolvlm/${name}`, "image_seq_len", perTile, file.image_seq_len));
    for (const [index, recorded] of file.cases.entries()) {
      const fixture = { tensors, index, pictures };
      const processor = processorOf(model, file);
      results.push(
        ...await replayCase(`smolvlm/${name}[${index}]`, model, processor, recorded, fixture),
      );
    }
    model.dispose();
    const hasAdapter = name === file.kind && file.kind === "smolvlm" &&
      await exists(`${folder}/lora.safetensors`);
    if (hasAdapter) results.push(...await replayAdapter(folder, file.kind, file, pictures));
  }
  return results;
}
