/**
 * The page of `data show`: rows with their pictures, tiles and tokens.
 *
 * @module
 */
import { escapeHtml } from "../report/page/escape.ts";
import { PAGE_STYLE } from "../report/page/page_style.ts";
import { thumbnailUrl } from "../report/page/picture.ts";
import type { LookAtData, SeenRow, SeenText, SeenToken } from "./look_at_data.ts";
import type { SeenTiles } from "./seen_tiles.ts";
import { summaryRows } from "./summary.ts";
import { sourceHash } from "../report/page/source_hash.ts";

const STYLE = `
.row { margin: 0 0 16px; }
.views { display: flex; flex-wrap: wrap; gap: 16px; align-items: start; }
.views img { display: block; }
.changed { display: flex; gap: 3px; }
.changed img { max-width: 96px; }
.whole { max-width: 192px; border-radius: 6px; }
.tiles { display: grid; gap: 3px; width: fit-content; }
.tiles img { width: 56px; height: 56px; image-rendering: pixelated; }
.tokens { overflow-wrap: anywhere; white-space: pre-wrap; line-height: 1.9; margin: 4px 0 12px; }
.token { border-bottom: 2px solid var(--line); padding: 1px 0; }
.token.loss { background: var(--good-back); border-bottom-color: var(--good); }
.token.image { color: var(--quiet); }
`;

/** Image tokens one after the other are told as one. */
function joinImageTokens(tokens: readonly SeenToken[]): { token: SeenToken; count: number }[] {
  const joined: { token: SeenToken; count: number }[] = [];
  for (const token of tokens) {
    const last = joined.at(-1);
    if (token.isImage && last?.token.isImage) last.count++;
    else joined.push({ token, count: 1 });
  }
  return joined;
}

function renderTokens(tokens: readonly SeenToken[]): string {
  return joinImageTokens(tokens).map(({ token, count }) => {
    const text = count > 1 ? `${token.text} × ${count} ` : token.text.replaceAll("\n", "⏎\n");
    const kind = token.isImage ? " image" : token.carriesLoss ? " loss" : "";
    return `<span class="token${kind}">${escapeHtml(text)}</span>`;
  }).join("");
}

function renderText({ name, text, tokens }: SeenText): string {
  const count = tokens === null ? "" : ` <span class="quiet">${tokens.length} tokens</span>`;
  const body = tokens === null ? escapeHtml(text) : renderTokens(tokens);
  return `<h3>${escapeHtml(name)}${count}</h3><div class="tokens">${body}</div>`;
}

function renderTiles({ rows, columns, whole, tiles }: SeenTiles): string {
  const grid = (urls: readonly string[], across: number) =>
    `<div class="tiles" data-columns="${across}">${
      urls.map((url) => `<img src="${url}" alt="">`).join("")
    }</div>`;
  return `${whole === null ? "" : grid([whole], 1)}${grid(tiles, columns)}` +
    `<p class="quiet">${rows} × ${columns} tiles${whole === null ? "" : " and the whole"}</p>`;
}

async function renderRow({ place, pictures, tiles, changed, texts }: SeenRow): Promise<string> {
  const views = await Promise.all(pictures.map(async ({ bytes, name }, i) => {
    const url = await thumbnailUrl(bytes);
    const image = url === null
      ? `<p class="notice warn">${escapeHtml(name)} cannot be shown</p>`
      : `<img class="whole" src="${url}" alt="${escapeHtml(name)}">`;
    const views = (changed[i] ?? []).map((url, epoch) =>
      `<img src="${url}" alt="in epoch ${epoch + 1}">`
    );
    const epochs = views.length === 0 ? "" : `<div><div class="changed">${views.join("")}</div>` +
      `<p class="quiet">augmented, epochs 1 to ${views.length}</p></div>`;
    return image + epochs + (tiles[i] === undefined ? "" : renderTiles(tiles[i]));
  }));
  return `<section class="card row"><h2>${escapeHtml(place)}</h2>
<div class="views">${views.join("\n")}</div>
${texts.map(renderText).join("\n")}</section>`;
}

/** Rules for the widths of tiles: a page without scripts and inline styles needs one a width. */
function tileRules(look: LookAtData): string {
  const widths = new Set(look.rows.flatMap(({ tiles }) => tiles.map(({ columns }) => columns)));
  return [1, ...widths].map((columns) =>
    `.tiles[data-columns="${columns}"] { grid-template-columns: repeat(${columns}, 56px); }`
  ).join("\n");
}

/**
 * Renders the page; it has no script and loads nothing.
 *
 * @returns HTML
 */
export async function renderDataPage(look: LookAtData): Promise<string> {
  const style = `${PAGE_STYLE}${STYLE}${tileRules(look)}`;
  const policy = `default-src 'none'; img-src data:; style-src ${await sourceHash(style)}; ` +
    `base-uri 'none'; form-action 'none'`;
  const facts = summaryRows(look).map(([name, value]) =>
    `<tr><th scope="row">${escapeHtml(name)}</th><td>${escapeHtml(value)}</td></tr>`
  );
  const skipped = look.skipped.map(({ place, reason }) =>
    `<tr><th scope="row">${escapeHtml(place)}</th><td>${escapeHtml(reason)}</td></tr>`
  );
  const rows: string[] = [];
  for (const row of look.rows) rows.push(await renderRow(row));
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="${policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,">
<title>${escapeHtml(look.name)}</title>
<style>${style}</style>
</head>
<body>
<header class="top"><h1>${escapeHtml(look.name)}</h1>
<p class="quiet">What a model will see. Tokens that carry loss are marked in green.</p></header>
<main>
<table>${facts.join("\n")}</table>
${
    skipped.length === 0
      ? ""
      : `<h2>Rows that cannot be used</h2><table>${skipped.join("\n")}</table>`
  }
${rows.join("\n")}
</main>
</body>
</html>
`;
}
