/**
 * Replays the pictures of `preprocess/`: decoding, Pillow's resize, the size rule, tiles.
 *
 * @module
 */
import { decodeImage } from "../../image/decode_image.ts";
import { dynamicSize } from "../../image/dynamic_size.ts";
import { ImageProcessor } from "../../image/image_processor.ts";
import { pillowResize, type ResizeFilter } from "../../image/pillow_resize.ts";
import type { RgbImage } from "../../image/rgb_image.ts";
import { type HostTensor, readSafetensors } from "../../model/safetensors/safetensors.ts";
import { compareNumbers, type Tolerance } from "../compare_numbers.ts";
import { exactCase, readFixtureJson } from "./exact_case.ts";
import type { ParityResult } from "../result.ts";

interface ProcessedCase {
  resized_width: number;
  resized_height: number;
  grid: [number, number];
  tiles: number;
}

interface PreprocessFile {
  splitted_image_size: number;
  max_img_size: number;
  images: {
    file: string;
    pil_mode: string;
    width: number;
    height: number;
    max_side_false?: ProcessedCase;
    max_side_true?: ProcessedCase;
  }[];
  size_rule: {
    patch: number;
    max_side: number;
    to_max_side: boolean;
    w: number;
    h: number;
    new_w: number;
    new_h: number;
  }[];
}

interface SftSamples {
  resize_to_max_side_len: boolean;
  samples: { files: string[]; grids: [number, number][] }[];
}

/** Float tiles: k/255 exactly, the global tile interpolated. */
const TILE_TOLERANCE: Tolerance = { absolute: 2e-6 };

type Tensors = Map<string, HostTensor>;

function numbersOf(tensor: HostTensor): ArrayLike<number> {
  const { data } = tensor;
  if (data instanceof BigInt64Array || data instanceof BigUint64Array) {
    return Array.from(data, Number);
  }
  return data;
}

async function readTensors(path: string): Promise<Tensors | null> {
  try {
    await Deno.stat(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return null;
    throw error;
  }
  return await readSafetensors(path);
}

function toImage(tensor: HostTensor): RgbImage {
  const [height, width] = tensor.shape;
  return { width, height, data: Uint8Array.from(numbersOf(tensor)) };
}

function compareTiles(
  name: string,
  processor: ImageProcessor,
  resized: RgbImage,
  expected: HostTensor,
): ParityResult[] {
  const { tiles, tileCount, tileSize } = processor.toTiles(resized);
  return [
    exactCase(name, "shape", [tileCount, 3, tileSize, tileSize], expected.shape),
    compareNumbers(name, "tiles", tiles, numbersOf(expected), TILE_TOLERANCE),
  ];
}

/** Pixels by file name. 16-bit grey is scaled here and clipped by Pillow: shape, then Pillow's. */
async function replayDecoding(
  directory: string,
  file: PreprocessFile,
  processed: Tensors | null,
  results: ParityResult[],
): Promise<Map<string, RgbImage>> {
  const images = new Map<string, RgbImage>();
  for (const { file: path, pil_mode: mode, width, height } of file.images) {
    const name = path.slice(path.lastIndexOf("/") + 1);
    const decoded = await decodeImage(await Deno.readFile(`${directory}/preprocess/${path}`));
    const size = [decoded.width, decoded.height];
    results.push(exactCase(`preprocess/${path}`, "size", size, [width, height]));
    const recorded = processed?.get(`${name}.rgb`);
    const clipped = mode.startsWith("I");
    if (recorded !== undefined && !clipped) {
      const expected = numbersOf(recorded);
      results.push(compareNumbers(`preprocess/${path}`, "rgb", decoded.data, expected, {}));
    }
    images.set(name, clipped && recorded !== undefined ? toImage(recorded) : decoded);
  }
  return images;
}

function replaySizeRule(file: PreprocessFile): ParityResult {
  const sizes = file.size_rule.map((rule) =>
    dynamicSize(rule.w, rule.h, rule.patch, rule.max_side, rule.to_max_side)
  );
  return exactCase(
    "preprocess/preprocess.json size_rule",
    "new_w, new_h",
    sizes.flatMap(({ width, height }) => [width, height]),
    file.size_rule.flatMap(({ new_w, new_h }) => [new_w, new_h]),
  );
}

function replayProcessed(
  file: PreprocessFile,
  images: Map<string, RgbImage>,
  processed: Tensors,
): ParityResult[] {
  const results: ParityResult[] = [];
  for (const recorded of file.images) {
    const name = recorded.file.slice(recorded.file.lastIndexOf("/") + 1);
    const image = images.get(name);
    for (const flag of [false, true]) {
      const expected = recorded[`max_side_${flag}`];
      const tensor = processed.get(`${name}.max_side_${flag}`);
      if (expected === undefined || tensor === undefined || image === undefined) continue;
      const label = `preprocess/${name} max_side_${flag}`;
      const processor = processorOf(file, flag);
      const { width, height } = dynamicSize(
        image.width,
        image.height,
        file.splitted_image_size,
        file.max_img_size,
        flag,
      );
      results.push(exactCase(label, "resized size", [width, height], [
        expected.resized_width,
        expected.resized_height,
      ]));
      const resized = pillowResize(image, width, height);
      const { grid, tileCount } = processor.toTiles(resized);
      results.push(exactCase(label, "grid", grid, expected.grid));
      results.push(exactCase(label, "tile count", tileCount, expected.tiles));
      results.push(...compareTiles(label, processor, resized, tensor));
      const older = processed.get(`${name}.max_side_${flag}.horizontal_first`);
      if (older !== undefined) {
        const other = pillowResize(image, width, height, "bicubic", "horizontal_first");
        results.push(...compareTiles(`${label} horizontal_first`, processor, other, older));
      }
    }
  }
  return results;
}

function processorOf(file: PreprocessFile, resizeToMaxSideLen: boolean): ImageProcessor {
  return new ImageProcessor({
    maxImgSize: file.max_img_size,
    splitImageSize: file.splitted_image_size,
    resizeToMaxSideLen,
  });
}

function replayResizes(images: Map<string, RgbImage>, resizes: Tensors): ParityResult[] {
  const results: ParityResult[] = [];
  for (const [name, tensor] of resizes) {
    const parts = /^(.+)\.(bicubic|bilinear)\.w(\d+)h(\d+)(\.horizontal_first)?$/.exec(name);
    const image = parts === null ? undefined : images.get(parts[1]);
    if (parts === null || image === undefined) {
      results.push(exactCase(`preprocess/pil_resize ${name}`, "known name", 0, 1));
      continue;
    }
    const filter: ResizeFilter = parts[2] === "bilinear" ? "bilinear" : "bicubic";
    const order = parts[5] === undefined ? "pillow13" : "horizontal_first";
    const resized = pillowResize(image, Number(parts[3]), Number(parts[4]), filter, order);
    const label = `preprocess/pil_resize ${name}`;
    results.push(exactCase(label, "shape", [resized.height, resized.width, 3], tensor.shape));
    results.push(compareNumbers(label, "pixels", resized.data, numbersOf(tensor), {}));
  }
  return results;
}

async function replaySftImages(
  file: PreprocessFile,
  images: Map<string, RgbImage>,
  sft: SftSamples,
  tensors: Tensors,
): Promise<ParityResult[]> {
  const processor = processorOf(file, sft.resize_to_max_side_len);
  const results: ParityResult[] = [];
  for (const [s, sample] of sft.samples.entries()) {
    for (const [i, name] of sample.files.entries()) {
      const label = `preprocess/sft_samples sample${s}.image${i}`;
      const image = images.get(name), tensor = tensors.get(`sample${s}.image${i}`);
      if (image === undefined || tensor === undefined) {
        results.push(exactCase(label, "recorded", 0, 1));
        continue;
      }
      const resized = await processor.resize(image);
      const { grid } = processor.toTiles(resized);
      results.push(exactCase(label, "grid", grid, sample.grids[i]));
      results.push(...compareTiles(label, processor, resized, tensor));
    }
  }
  return results;
}

/**
 * Replays every recorded picture. Files that a fixtures folder lacks are passed over.
 *
 * @param directory the fixtures folder
 */
export async function replayImageCases(directory: string): Promise<ParityResult[]> {
  const folder = `${directory}/preprocess`;
  const file = await readFixtureJson<PreprocessFile>(`${folder}/preprocess.json`);
  if (file === null) return [];
  const processed = await readTensors(`${folder}/processed.safetensors`);
  const results: ParityResult[] = [];
  const images = await replayDecoding(directory, file, processed, results);
  results.push(replaySizeRule(file));
  if (processed !== null) results.push(...replayProcessed(file, images, processed));
  const resizes = await readTensors(`${folder}/pil_resize.safetensors`);
  if (resizes !== null) results.push(...replayResizes(images, resizes));
  const sft = await readFixtureJson<SftSamples>(`${folder}/sft_samples.json`);
  const sftTensors = await readTensors(`${folder}/sft_samples.safetensors`);
  if (sft !== null && sftTensors !== null) {
    results.push(...await replaySftImages(file, images, sft, sftTensors));
  }
  return results;
}
