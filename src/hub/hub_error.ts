/** Why the Hub could not be used. */
export type HubErrorKind =
  | "not found"
  | "not allowed"
  | "offline"
  | "unreachable"
  | "damaged"
  | "refused";

/** The Hub request failed: no such repository or file, no access, no network. */
export class HubError extends Error {
  /** The name that logs show. */
  override name = "HubError";
  /** The kind of failure, for callers that continue without the file. */
  readonly kind: HubErrorKind;

  /** @param message action, what was wrong, the way out */
  constructor(kind: HubErrorKind, message: string, options?: ErrorOptions) {
    super(message, options);
    this.kind = kind;
  }
}
