/** The style sheet of the chat page: light and dark, from phone to desktop, no outside fonts. */
export const CHAT_STYLE = `
:root {
  color-scheme: light dark;
  --page: #f6f7f9; --card: #ffffff; --line: #d5dae3; --text: #1b1f27; --quiet: #565f6e;
  --accent: #1f4fc4; --on-accent: #ffffff; --own: #e6edff; --bad: #a52019; --bad-back: #fdeceb;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #0f1217; --card: #181c23; --line: #343b48; --text: #e8ebf1; --quiet: #a6b0c0;
    --accent: #8fb1ff; --on-accent: #0f1217; --own: #1d2a4a; --bad: #ff9a92; --bad-back: #3a1917;
  }
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body {
  margin: 0; background: var(--page); color: var(--text); min-height: 100vh; min-height: 100dvh;
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif;
  display: grid; grid-template: auto 1fr auto / minmax(0, 1fr);
}
header, main, #ask { width: 100%; max-width: 1100px; margin: 0 auto; padding: 0 16px; }
header { padding-top: 16px; display: flex; flex-wrap: wrap; gap: 8px 16px; align-items: center; }
h1 { font-size: 1.25rem; margin: 0 auto 0 0; }
h2 { font-size: .9rem; margin: 0; color: var(--quiet); font-weight: 600; overflow-wrap: anywhere; }
label { font-size: .9rem; }
button, select, input, textarea { font: inherit; color: inherit; }
button, select, input {
  background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: 6px 12px;
  min-height: 36px;
}
input[type="checkbox"] { min-height: 0; width: 18px; height: 18px; vertical-align: -3px; margin: 0 4px 0 0; }
button { cursor: pointer; }
button.main { background: var(--accent); color: var(--on-accent); border-color: var(--accent); font-weight: 600; }
button:disabled { opacity: .55; cursor: default; }
:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; }
main { padding-top: 12px; padding-bottom: 12px; }
.turn { margin-bottom: 20px; }
.question { background: var(--own); border-radius: 14px; padding: 10px 14px; margin-left: auto; width: fit-content; max-width: 85%; overflow-wrap: anywhere; white-space: pre-wrap; }
.answers { display: grid; gap: 12px; margin-top: 10px; }
@media (min-width: 720px) { .answers.two { grid-template-columns: 1fr 1fr; } }
.answer { background: var(--card); border: 1px solid var(--line); border-radius: 14px; padding: 10px 14px; min-width: 0; }
.answer p { margin: 4px 0 0; white-space: pre-wrap; overflow-wrap: anywhere; min-height: 1.5em; }
.numbers { color: var(--quiet); font-size: .82rem; }
.error { background: var(--bad-back); color: var(--bad); border-radius: 8px; padding: 8px 12px; margin: 8px 0 0; }
.pictures { display: flex; flex-wrap: wrap; gap: 8px; margin-bottom: 8px; }
.picture { position: relative; }
.picture > img { display: block; max-height: 120px; max-width: 100%; border-radius: 8px; border: 1px solid var(--line); background: var(--card); }
.picture button { position: absolute; top: 4px; right: 4px; min-height: 28px; padding: 0 8px; }
.tiles { display: grid; gap: 3px; margin-top: 6px; width: fit-content; }
.tiles img { width: 56px; height: 56px; image-rendering: pixelated; display: block; }
summary { cursor: pointer; font-size: .85rem; color: var(--quiet); padding: 4px 0; }
#ask { position: sticky; bottom: 0; background: var(--page); padding-top: 8px; padding-bottom: 16px; border-top: 1px solid var(--line); }
.row { display: flex; gap: 8px; align-items: end; }
textarea { flex: 1; min-width: 0; resize: vertical; min-height: 44px; max-height: 40vh; border: 1px solid var(--line); border-radius: 10px; padding: 9px 12px; background: var(--card); }
.settings { display: grid; gap: 8px 16px; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); padding: 6px 0; }
.settings label { display: grid; gap: 2px; }
.settings label.wide { grid-column: 1 / -1; }
.settings input { width: 100%; }
.hint { color: var(--quiet); }
.dropping { outline: 3px dashed var(--accent); outline-offset: -8px; }
.hidden { display: none; }
.visually-hidden { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
@media (prefers-reduced-motion: no-preference) { .writing p::after { content: "▍"; animation: blink 1s steps(2) infinite; } @keyframes blink { 50% { opacity: 0; } } }
`;
