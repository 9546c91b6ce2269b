/**
 * Rows for training, good and bad ones.
 *
 * @module
 */
import { pngFile } from "../image/png_file.ts";

/** As JSON files have pictures. */
export function base64(bytes: Uint8Array): string {
  return btoa(String.fromCharCode(...bytes));
}

/** A grey square of 8 x 8. */
export const GOOD_PNG: Uint8Array = await pngFile({
  width: 8,
  height: 8,
  depth: 8,
  colorType: 2,
  rows: Array.from({ length: 8 }, () => new Uint8Array(24).fill(120)),
});

/** 75 bytes that claim 60,000 x 60,000 pixels. */
export const IMAGE_BOMB: Uint8Array = await pngFile({
  width: 60_000,
  height: 60_000,
  depth: 8,
  colorType: 2,
  rows: [new Uint8Array(24)],
});

/** A row of the vqa format. */
export function vqaRow(
  image: unknown,
  texts: unknown = [{ user: "What colour?", assistant: "grey" }],
): Record<string, unknown> {
  return { ...(image === undefined ? {} : { image }), texts };
}

/** Writes 30 rows, the first of them the given ones, and returns the file. */
export async function writeRows(path: string, first: readonly unknown[]): Promise<string> {
  const good = vqaRow(base64(GOOD_PNG));
  const rows = Array.from({ length: 30 }, (_, i) => JSON.stringify(first[i] ?? good));
  await Deno.writeTextFile(path, rows.join("\n") + "\n");
  return path;
}
