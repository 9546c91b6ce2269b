/**
 * The page at `/`: talk to the served models with pictures, and compare two of them.
 *
 * @module
 */
import { CHAT_SCRIPT } from "./chat_script.ts";
import { CHAT_STYLE } from "./chat_style.ts";
import { sourceHash } from "../../report/page/source_hash.ts";

/** A page with the header that forbids everything but its own script, style and server. */
export interface ChatPage {
  readonly html: string;
  /** Value of `content-security-policy`. */
  readonly policy: string;
}

const HTML = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<link rel="icon" href="data:,">
<title>Ask your model</title>
<style>${CHAT_STYLE}</style>
</head>
<body>
<header>
<h1>Ask your model</h1>
<label>Model <select id="model"></select></label>
<label><input type="checkbox" id="compare" disabled> Compare</label>
<label id="secondline" class="hidden">with <select id="second"></select></label>
<button type="button" id="new">New conversation</button>
</header>
<main>
<p id="problem" class="error-line" role="alert"></p>
<form id="keyline" class="hidden"><label>API key <input id="key" type="password" autocomplete="off"></label></form>
<p id="empty" class="hint">Drop, paste or choose a picture and ask about it. Nothing leaves this server.</p>
<div id="log"></div>
</main>
<form id="ask">
<div id="attached" class="pictures"></div>
<div class="row">
<button type="button" id="choose">Picture…</button>
<input id="file" class="hidden" type="file" accept="image/*" multiple tabindex="-1" aria-label="Choose pictures">
<textarea id="prompt" rows="1" aria-label="Your question" placeholder="Your question"></textarea>
<button type="button" id="stop" class="hidden">Stop</button>
<button type="submit" id="send" class="main">Ask</button>
</div>
<details>
<summary>Settings</summary>
<div class="settings">
<label>Temperature, 0 takes the likeliest <input id="temperature" type="number" min="0" max="2" step="0.1" value="0"></label>
<label>Top p <input id="top-p" type="number" min="0" max="1" step="0.05" value="1"></label>
<label>Longest answer, tokens <input id="max-tokens" type="number" min="1" step="1" value="128"></label>
<label>Seed <input id="seed" type="number" step="1" placeholder="any"></label>
<label class="wide">System message <input id="system" type="text"></label>
</div>
</details>
<div id="status" class="visually-hidden" role="status"></div>
</form>
<script>${CHAT_SCRIPT}</script>
</body>
</html>
`;

/** The page; it is the same for every model. */
export async function chatPage(): Promise<ChatPage> {
  const [script, style] = await Promise.all([CHAT_SCRIPT, CHAT_STYLE].map(sourceHash));
  return {
    html: HTML,
    policy: `default-src 'none'; connect-src 'self'; img-src data: blob:; script-src ${script}; ` +
      `style-src ${style}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'`,
  };
}
