/**
 * Parts that several sections of report.html share: pictures and texts of a model.
 *
 * @module
 */
import { escapeHtml } from "./escape.ts";

/** Pictures side by side. */
export function renderPictures(pictures: readonly string[]): string {
  if (pictures.length === 0) return "";
  // Only what thumbnailUrl() makes is accepted.
  const images = pictures.map((url, i) =>
    /^data:image\/png;base64,[A-Za-z0-9+/=]+$/.test(url)
      ? `<img src="${url}" alt="picture ${i + 1} of the question">`
      : `<span class="nopicture">(this picture cannot be shown)</span>`
  );
  return `<div class="pictures">${images.join("")}</div>`;
}

/** Text of a model or of the data; an empty one is said to be empty. */
export function shownText(text: string): string {
  return text === "" ? `<span class="quiet">(nothing)</span>` : escapeHtml(text);
}
