/**
 * Responses that take long, and that notice a client that went away.
 *
 * Deno 2.9.6 does not abort `request.signal` when the client of a request with a body above some 500
 * bytes goes away (findings/deno_serve_disconnect.sh). A write to the closed connection fails in any
 * case, so something that means nothing is written while there is nothing to say.
 *
 * @module
 */

/** Between two writes; the second one to a closed connection fails. */
const BEAT_MS = 500;

/**
 * Calls `beat` while nothing else was sent for half a second.
 *
 * @param beat writes something that means nothing
 */
export class Heartbeat {
  #last = performance.now();
  readonly #timer: ReturnType<typeof setInterval>;

  constructor(beat: () => void) {
    this.#timer = setInterval(() => {
      if (performance.now() - this.#last >= BEAT_MS) beat();
    }, BEAT_MS);
  }

  /** Something was sent. */
  sent(): void {
    this.#last = performance.now();
  }

  /** No more beats. */
  stop(): void {
    clearInterval(this.#timer);
  }
}

/** The error of a client that went away. */
export class ClientGone extends Error {
  override name = "ClientGone";
}

/** What `value` becomes, or null if it takes longer than `ms`. */
async function within<T>(value: Promise<T>, ms: number): Promise<{ readonly value: T } | null> {
  const { promise, resolve } = Promise.withResolvers<null>();
  const timer = setTimeout(() => resolve(null), ms);
  try {
    return await Promise.race([value.then((value) => ({ value })), promise]);
  } finally {
    clearTimeout(timer);
  }
}

/**
 * A response with an object as JSON. If it takes longer than a second, the response begins with spaces,
 * which JSON allows.
 *
 * @param value the object; if it fails late, the connection is broken off
 * @param onLeave called if the client goes away
 * @throws whatever `value` rejects with in the first second
 */
export async function patientJson(value: Promise<unknown>, onLeave: () => void): Promise<Response> {
  const soon = await within(value, 2 * BEAT_MS);
  if (soon !== null) return Response.json(soon.value);
  const encoder = new TextEncoder();
  let heartbeat: Heartbeat;
  const body = new ReadableStream<Uint8Array>({
    start(controller) {
      heartbeat = new Heartbeat(() => controller.enqueue(encoder.encode(" ")));
      value.then((done) => {
        controller.enqueue(encoder.encode(JSON.stringify(done)));
        controller.close();
      }).catch((error) => {
        // Otherwise the stream has no reader any more.
        if (!(error instanceof ClientGone)) controller.error(error);
      }).finally(() => heartbeat.stop());
    },
    cancel() {
      heartbeat.stop();
      onLeave();
    },
  });
  return new Response(body, { headers: { "content-type": "application/json" } });
}
