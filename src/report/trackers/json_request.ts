/**
 * Requests to a tracker's server.
 *
 * @module
 */

/** The longest that a request may take. */
const REQUEST_MS = 30_000;
/** Waits before a request is repeated. */
const RETRY_MS: readonly number[] = [500, 2000];

/** A request. */
export interface JsonRequest {
  /** Whole address. */
  readonly url: string;
  readonly method?: "GET" | "POST";
  readonly headers?: Readonly<Record<string, string>>;
  /** Sent as JSON. */
  readonly body?: unknown;
  /** Milliseconds to wait before each repetition; for tests. */
  readonly retryMs?: readonly number[];
}

/** A server's refusal. */
export class TrackerHttpError extends Error {
  override readonly name = "TrackerHttpError";

  constructor(message: string, readonly status: number, readonly body: unknown) {
    super(message);
  }
}

async function once({ url, method = "POST", headers, body }: JsonRequest): Promise<unknown> {
  const response = await fetch(url, {
    method,
    headers: { "content-type": "application/json", ...headers },
    body: body === undefined ? undefined : JSON.stringify(body),
    signal: AbortSignal.timeout(REQUEST_MS),
  });
  const text = await response.text();
  let answer: unknown = text;
  try {
    answer = text === "" ? null : JSON.parse(text);
  } catch {
    // not JSON: kept as text
  }
  if (response.ok) return answer;
  throw new TrackerHttpError(
    `${new URL(url).origin} answered ${response.status}: ${text.slice(0, 200)}`,
    response.status,
    answer,
  );
}

/**
 * Sends a request; a server that is busy or away is asked again, twice.
 *
 * @returns the answer, parsed
 * @throws {TrackerHttpError} if the server refuses
 * @throws {Error} if it cannot be reached
 */
export async function requestJson(request: JsonRequest): Promise<unknown> {
  for (const wait of request.retryMs ?? RETRY_MS) {
    try {
      return await once(request);
    } catch (error) {
      if (error instanceof TrackerHttpError && error.status < 500 && error.status !== 429) {
        throw error;
      }
      await new Promise((resolve) => setTimeout(resolve, wait));
    }
  }
  return await once(request);
}
