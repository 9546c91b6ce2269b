/**
 * Pictures from web addresses, if the server was started with `--allow-image-urls`.
 *
 * @module
 */
import { ApiError } from "./api_error.ts";

/** A slow host must not hold a request for longer. */
const TIMEOUT_MS = 20_000;
/** Hosts that are this machine or its neighbours, which a stranger must not reach through us. */
const PRIVATE = new RegExp(
  String.raw`^(?:localhost|.*\.localhost|.*\.local|.*\.internal|0(?:\.\d+){3}|127(?:\.\d+){3}|` +
    String.raw`10(?:\.\d+){3}|169\.254(?:\.\d+){2}|192\.168(?:\.\d+){2}|` +
    String.raw`172\.(?:1[6-9]|2\d|3[01])(?:\.\d+){2}|\[.*\])\.?$`,
  "i",
);

function refuse(url: URL, reason: string): ApiError {
  return new ApiError(400, `cannot fetch ${url.href.slice(0, 200)}: ${reason}`, {
    code: "invalid_image_url",
    param: "messages",
  });
}

/**
 * The bytes of a file on the web. Redirects are not followed, since they may lead to this machine.
 *
 * @param mostBytes the largest file
 * @throws {ApiError} with status 400 if it cannot be had
 */
export async function fetchPicture(url: URL, mostBytes: number): Promise<Uint8Array> {
  if (PRIVATE.test(url.hostname)) throw refuse(url, "the host is on a private network");
  let response: Response;
  try {
    response = await fetch(url, { redirect: "error", signal: AbortSignal.timeout(TIMEOUT_MS) });
  } catch (error) {
    throw refuse(url, error instanceof Error ? error.message : String(error));
  }
  if (!response.ok || response.body === null) {
    await response.body?.cancel();
    throw refuse(url, `it answered ${response.status}`);
  }
  return await readAtMost(
    response.body,
    mostBytes,
    () => refuse(url, `it has more than ${mostBytes} bytes`),
  );
}

/**
 * All bytes of a stream.
 *
 * @param tooLarge the error if there are more than `mostBytes`
 */
export async function readAtMost(
  stream: ReadableStream<Uint8Array>,
  mostBytes: number,
  tooLarge: () => Error,
): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  let size = 0;
  for await (const part of stream) {
    size += part.length;
    if (size > mostBytes) throw tooLarge();
    parts.push(part);
  }
  const all = new Uint8Array(size);
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}
