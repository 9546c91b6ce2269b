/**
 * The 256 printable characters with which byte-level BPE writes bytes (GPT-2's
 * `bytes_to_unicode`).
 *
 * @module
 */

/** Character of each byte, in byte order. */
export const BYTE_CHARACTERS: readonly string[] = (() => {
  const characters: string[] = [];
  let next = 256;
  for (let byte = 0; byte < 256; byte++) {
    const isPrintable = (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) ||
      byte >= 0xae;
    characters.push(String.fromCodePoint(isPrintable ? byte : next++));
  }
  return characters;
})();

const utf8 = new TextEncoder();

/** A text as the characters of its UTF-8 bytes. */
export function byteCharactersOf(text: string): string {
  let characters = "";
  for (const byte of utf8.encode(text)) characters += BYTE_CHARACTERS[byte];
  return characters;
}
