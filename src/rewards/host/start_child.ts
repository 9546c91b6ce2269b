/** Starts a child with a module's grants, behind the kernel walls that work on this system. */
import { childCommand } from "./child_command.ts";
import { ChildDeathError, SandboxChild } from "./child_process.ts";
import { BOOT_TIMEOUT_MS, mayConnect, type ResolvedGrants } from "./sandbox_grants.ts";
import { proveSystemWalls, wallsAreProven, wallsHold } from "./system_walls.ts";

/** Starts a child that is ready to parse. @throws {ChildDeathError} if it does not start */
export async function startChild(grants: ResolvedGrants): Promise<SandboxChild> {
  const start = async (): Promise<SandboxChild> =>
    await SandboxChild.start(await childCommand(grants), grants.memoryMb, BOOT_TIMEOUT_MS);
  if (wallsAreProven()) return await start();
  try {
    const child = await start();
    // A child with a network grant has no network namespace: it does not prove that wall.
    if (!mayConnect(grants)) wallsHold();
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
