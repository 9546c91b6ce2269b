/**
 * Errors in the shape that OpenAI's clients read.
 *
 * @module
 */

/** A request that cannot be answered, with what the client gets. */
export class ApiError extends Error {
  override name = "ApiError";

  /**
   * @param status HTTP status
   * @param message what was wrong and what to do
   * @param details `code`: a word for programs; `param`: the key of the request that is wrong
   */
  constructor(
    readonly status: number,
    message: string,
    readonly details: { readonly code?: string; readonly param?: string } = {},
  ) {
    super(message);
  }

  /** The body: `{"error": {message, type, param, code}}`. */
  get body(): { readonly error: Readonly<Record<string, string | null>> } {
    const { code = null, param = null } = this.details;
    return {
      error: { message: this.message, type: TYPES.get(this.status) ?? "api_error", param, code },
    };
  }
}

const TYPES: ReadonlyMap<number, string> = new Map([
  [400, "invalid_request_error"],
  [401, "authentication_error"],
  [403, "permission_error"],
  [404, "not_found_error"],
  [405, "invalid_request_error"],
  [413, "invalid_request_error"],
  [429, "rate_limit_error"],
  [500, "server_error"],
  [503, "server_error"],
]);

/** A key of the request that is wrong: status 400. */
export function badRequest(param: string, message: string, code?: string): ApiError {
  return new ApiError(400, message, { param, ...(code === undefined ? {} : { code }) });
}
