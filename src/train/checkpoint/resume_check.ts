/**
 * Whether a run can go on from a checkpoint as if it had never stopped.
 *
 * @module
 */
import { CheckpointError } from "./checkpoint_error.ts";
import { adoptProductChoices, identityDifferences, type RunIdentity } from "./run_identity.ts";

/** How a run is resumed. */
export interface ResumeOptions {
  /** Goes on even if data, seed, batch size or backend are others; default false. */
  readonly anyway?: boolean;
}

/** What a check of the identity found. */
export interface IdentityCheck {
  readonly warnings: readonly string[];
  /** Whether the run goes on as if it had never stopped, as far as can be told. */
  readonly exact: boolean;
}

/**
 * Compares a checkpoint's run with the one that goes on from it.
 *
 * @param folder the checkpoint, for messages
 * @param then the checkpoint's; null: unknown, in a checkpoint of format 1
 * @param now this run's
 * @throws {CheckpointError} if the numbers would be others, without `anyway`
 */
export function checkIdentity(
  folder: string,
  then: RunIdentity | null,
  now: RunIdentity,
  { anyway = false }: ResumeOptions,
): IdentityCheck {
  if (then === null) {
    return {
      warnings: [
        `${folder} is of an earlier version, which did not record data and settings: it goes on ` +
        "as before only with the same data, seed, batch size and backend",
      ],
      exact: true,
    };
  }
  const { decisive, minor } = identityDifferences(then, now);
  if (then.backend === now.backend) adoptProductChoices(then);
  const warnings = minor.length === 0
    ? []
    : [`since ${folder} was written, settings have changed: ${minor.join("; ")}`];
  if (decisive.length === 0) return { warnings, exact: true };
  const others = decisive.join("; ");
  if (!anyway) {
    throw new CheckpointError(
      `Cannot resume from ${folder} as if the run had never stopped: ${others}. Use what the ` +
        "checkpoint was made with, or add --resume-anyway (in the library resumeAnyway: true) to " +
        "keep its weights, moments and step and go on differently",
    );
  }
  return {
    warnings: [
      `resumed from ${folder} anyway: ${others}; the rest of the run is not what it would have been`,
      ...warnings,
    ],
    exact: false,
  };
}
