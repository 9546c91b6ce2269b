/** A checkpoint that a run cannot go on from. */
export class CheckpointError extends Error {
  override readonly name = "CheckpointError";
}
