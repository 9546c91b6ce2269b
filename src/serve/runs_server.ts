/**
 * The HTTP server of `runs` and `train --watch`: pages over the runs below a folder.
 *
 * @module
 */
import { type ChartLibrary, loadChartLibrary } from "../report/page/chart_library.ts";
import { findRuns, type FoundRun } from "../report/runs/find_runs.ts";
import { renderComparison, renderRunList } from "../report/runs/runs_page.ts";

/** Runs of one comparison. */
const MOST_COMPARED = 4;

function page(html: string, status = 200): Response {
  return new Response(html, {
    status,
    headers: { "content-type": "text/html; charset=utf-8", "cache-control": "no-store" },
  });
}

function refused(status: number, text: string): Response {
  return new Response(`${text}\n`, {
    status,
    headers: { "content-type": "text/plain; charset=utf-8" },
  });
}

/** Shows the runs below a folder as they stand now. */
export class RunsServer {
  readonly #folder: string;
  #library: Promise<ChartLibrary> | null = null;

  /** @param folder whose runs are shown */
  constructor(folder: string) {
    this.#folder = folder;
  }

  /** Answers a request: `/`, `/report?run=NAME`, `/compare?run=NAME&run=NAME`. */
  async handle(request: Request): Promise<Response> {
    const { pathname, searchParams } = new URL(request.url);
    if (request.method !== "GET") return refused(405, "want GET");
    const runs = await findRuns(this.#folder);
    // Only what was found can be asked for: a name is no path.
    const chosen = searchParams.getAll("run").map((name) => runs.find((run) => run.name === name));
    if (chosen.includes(undefined)) return refused(404, "there is no such run here");
    const named = chosen.filter((run) => run !== undefined);
    switch (pathname) {
      case "/":
        return page(
          await renderRunList(
            this.#folder,
            runs,
            await this.#loadLibrary(),
          ),
        );
      case "/report":
        return await this.#report(named);
      case "/compare":
        if (named.length < 2 || named.length > MOST_COMPARED) {
          return refused(400, `choose 2 to ${MOST_COMPARED} runs to compare`);
        }
        return page(
          await renderComparison(named, await this.#loadLibrary()),
        );
      default:
        return refused(404, `there is no ${pathname} here`);
    }
  }

  async #report([run]: readonly FoundRun[]): Promise<Response> {
    if (run === undefined || !run.hasReport) return refused(404, "the run has no page yet");
    return page(await Deno.readTextFile(`${run.path}/report.html`));
  }

  #loadLibrary(): Promise<ChartLibrary> {
    return this.#library ??= loadChartLibrary();
  }
}
