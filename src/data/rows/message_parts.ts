/**
 * The content of a message: text, or a list of parts, of which some are pictures. Forms of OpenAI
 * (chat and responses), Transformers, Qwen, Unsloth, Anthropic and Ollama.
 *
 * @module
 */
import { RowSkipped } from "../data_error.ts";
import { countImageMarks, withoutImageMarks } from "./image_marks.ts";
import { type Cell, cellText, describeCell, isList, isStruct, scalarText } from "./row.ts";

/** A picture that a message has a place for: its cell, or null if a column of the row has it. */
export type PicturePlace = Cell;

/** What a message says. */
export interface MessageContent {
  readonly text: string;
  /** Its pictures, in order. */
  readonly places: readonly PicturePlace[];
  /** Where in the text each picture stands, in characters; null if marks in the text stood for some. */
  readonly offsets: readonly number[] | null;
}

/** Keys under which a part has its picture. */
const PICTURE_KEYS = [
  "image",
  "image_url",
  "url",
  "path",
  "base64",
  "data",
  "bytes",
  "source",
  "src",
  "image_path",
  "file",
] as const;
const TEXT_TYPES = new Set(["text", "input_text", "output_text"]);
const PICTURE_TYPES = new Set([
  "image",
  "image_url",
  "input_image",
  "img",
  "image_path",
  "picture",
]);

/**
 * Reads the content of a message.
 *
 * @param cell text, a part, or a list of parts
 * @param keepMarks leave `<image>` in the text: answers are never edited
 * @param name of the cell, for messages
 * @throws {RowSkipped} if it is none of these, or has a part of another kind
 */
export function readContent(
  cell: Cell | undefined,
  keepMarks: boolean,
  name: string,
): MessageContent {
  const parts = partsOf(cell);
  if (parts === null) {
    const text = keepMarks ? scalarText(cell) : cellText(cell);
    if (text === null) throw new RowSkipped(`${name} says ${describeCell(cell)}, want text`);
    return plainContent(text, keepMarks);
  }
  let text = "";
  let marks = 0;
  const places: PicturePlace[] = [];
  const offsets: number[] = [];
  let waiting = 0; // pictures since the last text: they stand before the next one
  const append = (piece: string) => {
    const content = plainContent(piece, keepMarks);
    marks += content.places.length;
    places.push(...content.places);
    if (content.text === "") return;
    // Texts with a picture between them need no line end, as in Transformers' chat templates.
    if (text !== "" && waiting === 0) text += "\n";
    offsets.fill(text.length, offsets.length - waiting);
    waiting = 0;
    text += content.text;
  };
  for (const part of parts) {
    const plain = cellText(part);
    if (plain !== null) append(plain);
    else if (isStruct(part)) {
      const kind = kindOf(part, name);
      if (kind === "text") append(scalarText(part.text) ?? scalarText(part.content) ?? "");
      else {
        places.push(pictureOf(part));
        offsets.push(text.length);
        waiting++;
      }
    } else if (part !== null) {
      throw new RowSkipped(`${name} has a part that is ${describeCell(part)}, want text or image`);
    }
  }
  return { text, places, offsets: marks === 0 ? offsets : null };
}

function plainContent(text: string, keepMarks: boolean): MessageContent {
  if (keepMarks) return { text, places: [], offsets: [] };
  const marks = countImageMarks(text);
  if (marks === 0) return { text, places: [], offsets: [] };
  return {
    text: withoutImageMarks(text),
    places: new Array<PicturePlace>(marks).fill(null),
    offsets: null,
  };
}

/** The parts of a content; null if it is plain text. */
function partsOf(cell: Cell | undefined): readonly Cell[] | null {
  if (isList(cell)) return cell;
  if (isStruct(cell)) return [cell];
  const text = cellText(cell)?.trim();
  // A list of parts that was written as JSON.
  if (text === undefined || !/^\[\s*\{\s*"(type|text|image)"/.test(text)) return null;
  try {
    const value: Cell = JSON.parse(text);
    return isList(value) && value.every(isStruct) ? value : null;
  } catch {
    return null;
  }
}

function kindOf(part: { readonly [key: string]: Cell }, name: string): "text" | "image" {
  const type = cellText(part.type);
  if (type === null) {
    const isText = isThere(part.text) || isThere(part.content);
    return isText && pictureOf(part) === null ? "text" : "image";
  }
  if (TEXT_TYPES.has(type)) return "text";
  if (PICTURE_TYPES.has(type)) return "image";
  const why = type.includes("video") ? "; video is not supported, give its frames as images" : "";
  throw new RowSkipped(
    `${name} has a part of type ${describeCell(type)}, want text or image${why}`,
  );
}

function pictureOf(part: { readonly [key: string]: Cell }): PicturePlace {
  for (const key of PICTURE_KEYS) {
    const cell = part[key];
    if (isThere(cell) && cell !== "") return isEmptyPicture(cell) ? null : cell;
  }
  return null;
}

/** A struct that parquet fills with nulls for every other kind of part. */
function isEmptyPicture(cell: Cell): boolean {
  return isStruct(cell) && Object.values(cell).every((value) => value === null);
}

function isThere(cell: Cell | undefined): cell is Exclude<Cell, null> {
  return cell !== null && cell !== undefined;
}
