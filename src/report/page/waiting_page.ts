import { escapeHtml } from "./escape.ts";

/**
 * A page that stands for a run's report until the run has begun. It asks again every two seconds, as a
 * file too.
 *
 * @param name of the run
 * @returns HTML
 */
export function renderWaitingPage(name: string): string {
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="refresh" content="2">
<link rel="icon" href="data:,">
<title>${escapeHtml(name)} has not begun</title>
<h1>${escapeHtml(name)} has not begun</h1>
<p>The model and the data are being prepared. This page changes when the run begins.</p>
</html>
`;
}
