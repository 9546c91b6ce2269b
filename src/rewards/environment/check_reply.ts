/** Checks what an environment returned, value by value: it is not trusted. */
import { cleanLine } from "../../clean_text.ts";
import type { CheckedReply, EnvironmentPicture } from "./types.ts";

/** Pictures of one reply. */
const MAX_PICTURES = 8;
/** Pixels of a picture that is given as pixels. */
const MAX_PIXELS = 4096 * 4096;
const KEYS: readonly string[] = ["state", "text", "images", "done"];

function describe(value: unknown): string {
  if (value === null || value === undefined) return String(value);
  return Array.isArray(value) ? `a list of ${value.length}` : `a ${typeof value}`;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value) &&
    !ArrayBuffer.isView(value);
}

const isSize = (value: unknown): value is number =>
  Number.isInteger(value) && (value as number) >= 1;

/** @throws {TypeError} if it is no picture */
function checkPicture(value: unknown, place: string): EnvironmentPicture {
  if (value instanceof Uint8Array) return value;
  if (!isRecord(value)) {
    throw new TypeError(
      `Cannot use the reply: ${place} is ${
        describe(value)
      }: want a file's bytes, { width, height, data } or ` +
        "{ image, crop }",
    );
  }
  if ("crop" in value) {
    const { image, crop } = value;
    const box = Array.isArray(crop) && crop.length === 4 && crop.every(Number.isFinite);
    if (!box || !Number.isInteger(image) || (image as number) < 0) {
      throw new TypeError(
        `Cannot use the reply: ${place} is no crop: want { image: number, crop: [left, top, right, bottom] } in pixels`,
      );
    }
    return { image: image as number, crop: crop as [number, number, number, number] };
  }
  const { width, height, data } = value;
  const isBytes = data instanceof Uint8Array || data instanceof Uint8ClampedArray;
  if (!isSize(width) || !isSize(height) || !isBytes || data.length !== width * height * 3) {
    throw new TypeError(
      `Cannot use the reply: ${place} has no pixels that fit: want { width, height, data } with width x height x 3 bytes`,
    );
  }
  if (width * height > MAX_PIXELS) {
    throw new TypeError(
      `Cannot use the reply: ${place} has ${width} x ${height} pixels: want ${MAX_PIXELS} at most`,
    );
  }
  return { width, height, data };
}

/**
 * The reply to one turn.
 *
 * @param value what the environment returned for the episode
 * @param state the episode's state before
 * @throws {TypeError} if it is no reply; the text says what is wrong with it
 */
export function checkReply(value: unknown, state: unknown): CheckedReply {
  if (value === null) return { state, done: true, text: "", images: [] };
  if (!isRecord(value)) {
    throw new TypeError(
      `Cannot use the reply: it is ${describe(value)}: want null or { state, text, images, done }`,
    );
  }
  const unknown = Object.keys(value).find((key) => !KEYS.includes(key));
  if (unknown !== undefined) {
    throw new TypeError(
      `Cannot use the reply: it has a key ${cleanLine(unknown, 40)}: want ${KEYS.join(", ")} alone`,
    );
  }
  const { text = "", images = [], done = false } = value;
  if (typeof text !== "string") {
    throw new TypeError(`Cannot use the reply: its text is ${describe(text)}: want a string`);
  }
  if (typeof done !== "boolean") {
    throw new TypeError(`Cannot use the reply: its done is ${describe(done)}: want true or false`);
  }
  if (!Array.isArray(images) || images.length > MAX_PICTURES) {
    throw new TypeError(
      `Cannot use the reply: its images are ${
        describe(images)
      }: want a list of ${MAX_PICTURES} at most`,
    );
  }
  const pictures = images.map((image, i) => checkPicture(image, `images[${i}]`));
  const says = text !== "" || pictures.length > 0;
  if (done && says) {
    throw new TypeError(
      "Cannot use the reply: it ends the episode and has a text or pictures, which the model would " +
        "never see; want one of both",
    );
  }
  if (!done && !says) {
    throw new TypeError(
      "Cannot use the reply: it has neither text nor pictures; want one of them, or done: true to " +
        "end the episode",
    );
  }
  const next = Object.hasOwn(value, "state") ? value.state : state;
  return { state: next, done, text, images: pictures };
}
