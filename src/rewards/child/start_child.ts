/** Starts a child with a module's grants, behind whatever walls this system really has. */
import { childCommand } from "./command.ts";
import { ChildDeathError, SandboxChild } from "./process.ts";
import { BOOT_TIMEOUT_MS, limitsOf } from "../sandbox_grants.ts";
import { proveSystemWalls, wallsAreProven, wallsHold } from "./system_walls.ts";
import type { SandboxGrants } from "../types.ts";

/** A child that is ready to parse. @throws ChildDeathError where it does not come up */
export async function startChild(grants: SandboxGrants): Promise<SandboxChild> {
  const start = async (): Promise<SandboxChild> =>
    await SandboxChild.start(await childCommand(grants), limitsOf(grants), BOOT_TIMEOUT_MS);
  if (wallsAreProven()) return await start();
  try {
    const child = await start();
    wallsHold();
    return child;
  } catch (error) {
    const wall = error instanceof ChildDeathError || error instanceof Deno.errors.NotFound ||
      error instanceof Deno.errors.PermissionDenied;
    if (!wall) throw error;
    // A wall that is there but may not be used here, as `unshare` in many containers.
    await proveSystemWalls();
    return await start();
  }
}
