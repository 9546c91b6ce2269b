/**
 * Listens on this machine for a browser.
 *
 * @module
 */

/** A server that listens. */
export interface Listening extends AsyncDisposable {
  /** Its address: `http://127.0.0.1:PORT/`. */
  readonly url: string;
}

/** The error of a port that is taken, with what to do; any other error as it is. */
export function listenError(error: unknown, port: number): unknown {
  if (!(error instanceof Deno.errors.AddrInUse)) return error;
  return new Error(`Cannot listen on port ${port}: it is taken; choose another one or 0`, {
    cause: error,
  });
}

/**
 * Starts a server on the loopback address. It asks for requests to the loopback's own names, so that
 * a page of another site cannot read it under a name of its own.
 *
 * @param port 0 takes a free one
 * @throws {Error} if the port is taken
 */
export function listenOnLoopback(
  port: number,
  handle: (request: Request) => Promise<Response>,
): Listening {
  let server: Deno.HttpServer<Deno.NetAddr>;
  try {
    server = Deno.serve({ hostname: "127.0.0.1", port, onListen: () => {} }, async (request) => {
      const { hostname } = new URL(request.url);
      if (hostname !== "127.0.0.1" && hostname !== "localhost") {
        return new Response("refused: ask for 127.0.0.1\n", { status: 403 });
      }
      return await handle(request);
    });
  } catch (error) {
    throw listenError(error, port);
  }
  return {
    url: `http://127.0.0.1:${server.addr.port}/`,
    [Symbol.asyncDispose]: () => server.shutdown(),
  };
}
