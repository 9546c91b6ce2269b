/**
 * Escapes text of any origin for the page. The page's Content-Security-Policy would stop a script
 * that was not escaped; it is a second wall, not the first.
 *
 * @module
 */

const ENTITIES: Readonly<Record<string, string>> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  '"': "&quot;",
  "'": "&#39;",
};

// Everything below space but tab and line break, and marks that turn the text's direction.
// deno-lint-ignore no-control-regex
const UNSHOWABLE = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]/g;

/**
 * Escapes text for an element's content or a quoted attribute.
 *
 * @param text anything; control characters become U+FFFD
 */
export function escapeHtml(text: string): string {
  return text.replaceAll("\r\n", "\n").replace(UNSHOWABLE, "\ufffd")
    .replace(/[&<>"']/g, (character) => ENTITIES[character]);
}

/**
 * JSON that can stand inside a `<script>` element: no `<` that could end it, and no line
 * separators, which older JavaScript does not accept.
 *
 * @param value anything that JSON can express
 */
export function jsonForScript(value: unknown): string {
  return JSON.stringify(value).replace(
    /[<>&\u2028\u2029]/g,
    (character) => "\\u" + character.charCodeAt(0).toString(16).padStart(4, "0"),
  );
}
