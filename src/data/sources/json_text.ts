/**
 * JSON as Python writes it: `NaN`, `Infinity` and `-Infinity` stand for missing numbers.
 *
 * @param text a JSON value
 * @throws {SyntaxError} if it is not JSON
 */
export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    if (!/NaN|Infinity/.test(text)) throw error;
    const plain = text.replace(
      /"(?:[^"\\]|\\.)*"|-?\b(?:NaN|Infinity)\b/g,
      (found) => found.startsWith('"') ? found : "null",
    );
    try {
      return JSON.parse(plain);
    } catch {
      throw error;
    }
  }
}
