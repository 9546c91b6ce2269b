/** Why the Hub could not be used. */
export type HubErrorKind =
  | "not found"
  | "not allowed"
  | "offline"
  | "unreachable"
  | "damaged"
  | "refused";

/** The Hub gave nothing usable: no such repository or file, no access, no network. */
export class HubError extends Error {
  /** The name that logs show. */
  override name = "HubError";
  /** What went wrong, for callers that go on without. */
  readonly kind: HubErrorKind;

  /** @param message action, what was wrong, the way out */
  constructor(kind: HubErrorKind, message: string, options?: ErrorOptions) {
    super(message, options);
    this.kind = kind;
  }
}
