/**
 * The HTTP server of `runs` and `train --watch`: pages over the runs below a folder.
 *
 * @module
 */
import { type ChartLibrary, loadChartLibrary } from "../report/page/chart_library.ts";
import { renderWaitingPage } from "../report/page/waiting_page.ts";
import { findRuns, type RunFolder } from "../report/runs/find_runs.ts";
import { RunReader } from "../report/runs/run_reader.ts";
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
  readonly #expected: string | undefined;
  readonly #reader = new RunReader();
  #library: Promise<ChartLibrary> | null = null;

  /**
   * @param folder whose runs are shown
   * @param expected the name of a run that will have a page soon
   */
  constructor(folder: string, expected?: string) {
    this.#folder = folder;
    this.#expected = expected;
  }

  /** Answers a request: `/`, `/report?run=NAME`, `/compare?run=NAME&run=NAME`. */
  async handle(request: Request): Promise<Response> {
    const { pathname, searchParams } = new URL(request.url);
    if (request.method !== "GET") return refused(405, "want GET");
    const runs = await findRuns(this.#folder); // Only their names: what is asked for is read.
    const expected = searchParams.get("run") === this.#expected ? this.#expected : undefined;
    const isReady = runs.some(({ name, hasReport }) => name === expected && hasReport);
    if (pathname === "/report" && expected !== undefined && !isReady) {
      return page(renderWaitingPage(expected));
    }
    // Only what was found can be asked for: a name is no path.
    const chosen = searchParams.getAll("run").map((name) => runs.find((run) => run.name === name));
    if (chosen.includes(undefined)) return refused(404, "there is no such run here");
    const named = chosen.filter((run) => run !== undefined);
    switch (pathname) {
      case "/":
        return page(
          await renderRunList(
            this.#folder,
            await this.#reader.readAll(runs),
            await this.#loadLibrary(),
          ),
        );
      case "/report":
        return await this.#report(named, request.headers.get("if-none-match"));
      case "/compare":
        if (named.length < 2 || named.length > MOST_COMPARED) {
          return refused(400, `choose 2 to ${MOST_COMPARED} runs to compare`);
        }
        return page(
          await renderComparison(
            await Promise.all(named.map((run) => this.#reader.read(run))),
            await this.#loadLibrary(),
          ),
        );
      default:
        return refused(404, `there is no ${pathname} here`);
    }
  }

  /** The page as it stands, or status 304 if it is the one that the browser has. */
  async #report([run]: readonly RunFolder[], known: string | null): Promise<Response> {
    if (run === undefined || !run.hasReport) return refused(404, "the run has no page yet");
    const path = `${run.path}/report.html`;
    const { mtime, size } = await Deno.stat(path);
    const etag = `"${mtime?.getTime() ?? 0}-${size}"`;
    if (etag === known) return new Response(null, { status: 304, headers: { etag } });
    const response = page(await Deno.readTextFile(path));
    response.headers.set("etag", etag);
    return response;
  }

  #loadLibrary(): Promise<ChartLibrary> {
    return this.#library ??= loadChartLibrary();
  }
}
