/** A mistake, at the key that should change. */
export interface Finding {
  readonly key: string;
  readonly text: string;
}
