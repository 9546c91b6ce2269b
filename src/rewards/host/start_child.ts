/** Starts a child with a module's grants, behind the kernel walls that work on this system. */
import { childCommand } from "./child_command.ts";
import { ChildDeathError, SandboxChild } from "./child_process.ts";
import { BOOT_TIMEOUT_MS, limitsOf } from "./sandbox_grants.ts";
import { proveSystemWalls, wallsAreProven, wallsHold } from "./system_walls.ts";
import type { SandboxGrants } from "../types.ts";

/** Starts a child that is ready to parse. @throws {ChildDeathError} if it does not start */
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
    // A program that exists but may not be used here, such as `unshare` in many containers.
    await proveSystemWalls();
    return await start();
  }
}
