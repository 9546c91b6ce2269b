/** A file of the run could not be made, written or read; the message names it and the way out. */
export class RunFileError extends Error {
  override readonly name = "RunFileError";
  /** The file or folder. */
  readonly path: string;
  /** Whether the disk (or the quota on it) is full. */
  readonly diskFull: boolean;

  /**
   * @param action what was tried, as in "write metrics to"
   * @param path the file or folder
   * @param cause the system's error
   */
  constructor(action: string, path: string, cause: unknown) {
    const [reason, wayOut] = explain(cause);
    super(`Cannot ${action} ${path}: ${reason}; ${wayOut}`, { cause });
    this.path = path;
    this.diskFull = isDiskFull(cause);
  }
}

/**
 * Whether an error of a file operation means that the disk, or the quota on it, is full.
 *
 * @param error what was thrown
 */
export function isDiskFull(error: unknown): boolean {
  const code = errorCode(error);
  return code === "ENOSPC" || code === "EDQUOT" ||
    /os error 28\b|os error 122\b|no space left/i.test(messageOf(error));
}

function explain(error: unknown): [string, string] {
  if (isDiskFull(error)) {
    return [
      "the disk is full",
      "free some space there, or set training.output_dir to another disk",
    ];
  }
  if (
    errorCode(error) === "EROFS" || /read-only file system|os error 30\b/i.test(messageOf(error))
  ) {
    return [
      "the file system is read-only",
      "set training.output_dir to a folder that can be written",
    ];
  }
  if (error instanceof Deno.errors.NotCapable) {
    return [
      "Deno was not allowed to",
      "run with --allow-read and --allow-write for the output folder",
    ];
  }
  if (error instanceof Deno.errors.PermissionDenied) {
    return [
      "permission denied",
      "make it writable for this user, or set training.output_dir to another folder",
    ];
  }
  if (error instanceof Deno.errors.NotADirectory || error instanceof Deno.errors.AlreadyExists) {
    return [
      "a file of that name is in the way",
      "move it, or set training.output_dir to another folder",
    ];
  }
  if (error instanceof Deno.errors.NotFound) {
    return ["it is not there (any more)", "check that the output folder was not moved or removed"];
  }
  return [messageOf(error), "check the output folder, or set training.output_dir to another one"];
}

function errorCode(error: unknown): string | undefined {
  if (error instanceof Error && "code" in error && typeof error.code === "string") {
    return error.code;
  }
  return undefined;
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
