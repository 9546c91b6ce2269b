import { HubError } from "./hub_error.ts";
import type { HubSettings } from "./hub_settings.ts";

/** Status codes that are worth a retry. */
const RETRIED = new Set([408, 429, 500, 502, 503, 504]);
const ATTEMPTS = 4;
const MAX_REDIRECTS = 10;

/** `fetch` towards a Hub. */
export type HubFetch = typeof fetch;

/**
 * A `fetch` for one Hub: the token goes to the endpoint's own origin and nowhere else, redirects to
 * other hosts included; transient failures are retried.
 *
 * @param settings endpoint and token
 * @param pauseMs the first pause before another attempt; it doubles
 */
export function hubFetch(settings: HubSettings, pauseMs = 300): HubFetch {
  const home = new URL(settings.endpoint).origin;

  async function once(request: Request): Promise<Response> {
    let current = request;
    for (let redirects = 0; redirects <= MAX_REDIRECTS; redirects++) {
      const headers = new Headers(current.headers);
      headers.delete("authorization");
      if (settings.token !== null && new URL(current.url).origin === home) {
        headers.set("authorization", `Bearer ${settings.token}`);
      }
      const response = await fetch(new Request(current, { headers, redirect: "manual" }));
      const location = response.headers.get("location");
      const follows = response.status >= 300 && response.status < 400 && location !== null;
      if (!follows || request.redirect === "manual") return response;
      await response.body?.cancel();
      const url = new URL(location, current.url);
      if (url.protocol !== "https:" && url.protocol !== "http:") {
        throw new HubError("refused", `Cannot fetch ${request.url}: it leads to ${url.protocol}`);
      }
      current = new Request(url, { method: current.method, headers, signal: request.signal });
    }
    throw new HubError("refused", `Cannot fetch ${request.url}: too many redirects`);
  }

  return async (input: RequestInfo | URL, init?: RequestInit): Promise<Response> => {
    const request = new Request(input, init);
    // Only requests without a body can be repeated.
    const attempts = request.method === "GET" || request.method === "HEAD" ? ATTEMPTS : 1;
    for (let attempt = 1;; attempt++) {
      let response: Response | null = null;
      try {
        response = await once(request);
        if (!RETRIED.has(response.status) || attempt >= attempts) return response;
        await response.body?.cancel();
      } catch (error) {
        if (error instanceof HubError || error instanceof Deno.errors.NotCapable) throw error;
        if (request.signal.aborted) throw error;
        if (attempt >= attempts || isRefusedConnection(error)) {
          throw unreachable(settings.endpoint, error);
        }
      }
      await new Promise((done) => setTimeout(done, pauseMs * 2 ** (attempt - 1)));
    }
  };
}

/** Connection refused, or an unknown host: a retry does not help. */
function isRefusedConnection(error: unknown): boolean {
  return /refused|dns|lookup|resolve|proxy/i.test(rootReason(error));
}

/** The message of the last error in a chain of causes. */
function rootReason(error: unknown): string {
  let last = error;
  while (last instanceof Error && last.cause !== undefined) last = last.cause;
  const text = last instanceof Error ? last.message : String(last);
  return text.replace(/^error sending request for url \(.*?\): /, "");
}

function unreachable(endpoint: string, error: unknown): HubError {
  return new HubError(
    "unreachable",
    `Cannot reach ${endpoint}: ${rootReason(error)}; ` +
      `check the network and HF_ENDPOINT, or set HF_HUB_OFFLINE=1 to use the cache alone`,
    { cause: error },
  );
}
