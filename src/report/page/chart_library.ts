/** The text of uPlot (MIT, by Leon Sorokin), which draws the curves. */
export interface ChartLibrary {
  /** Defines `uPlot`. */
  readonly script: string;
  /** Its style sheet. */
  readonly style: string;
  /** Its licence, which goes wherever it goes. */
  readonly licence: string;
}

/**
 * Loads uPlot's text out of its npm package. It is imported as text, so that it reaches the page
 * wherever our own modules come from, and only when a page is written.
 */
export async function loadChartLibrary(): Promise<ChartLibrary> {
  const [script, style, licence] = await Promise.all([
    import("uplot/dist/uPlot.iife.min.js", { with: { type: "text" } }),
    import("uplot/dist/uPlot.min.css", { with: { type: "text" } }),
    import("uplot/LICENSE", { with: { type: "text" } }),
  ]);
  return { script: script.default, style: style.default, licence: licence.default };
}
