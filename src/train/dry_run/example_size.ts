/** The size of an example, or of a row of several examples. */
export interface ExampleSize {
  readonly tokens: number;
  /** Tiles of all its pictures. */
  readonly tiles: number;
}
