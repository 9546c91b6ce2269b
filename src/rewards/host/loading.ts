/** Loads a checked graph into a child, and puts failures into words. */
import { type ChildDeath, ChildDeathError, type SandboxChild } from "./child_process.ts";
import { type ModuleGraph, RewardModuleError } from "../graph/module_graph.ts";
import { cleanLine, cleanLines } from "./printed_text.ts";
import type { ImportRequest, ModuleSource } from "../child/protocol.ts";

/** Lets a child parse modules and return their imports. @throws {RewardModuleError} if it fails */
export async function parse(
  child: SandboxChild,
  specifier: string,
  modules: ModuleSource[],
  timeoutMs: number,
): Promise<ImportRequest[]> {
  const answer = await child.request({ type: "parse", modules }, timeoutMs);
  if (answer.type !== "parsed") return child.broken();
  if (answer.error !== null) {
    throw new RewardModuleError(
      `Cannot load reward module ${specifier}: ${cleanLine(answer.error, 500)}`,
    );
  }
  return answer.requests;
}

/** Lets a child link and evaluate the graph that it parsed. @throws {RewardModuleError} */
export async function link(
  child: SandboxChild,
  specifier: string,
  graph: ModuleGraph,
  timeoutMs: number,
): Promise<{ names: string[]; printed: string[]; refused: string[] }> {
  const { entry, resolutions } = graph;
  const answer = await child.request({ type: "link", entry, resolutions, timeoutMs }, timeoutMs);
  if (answer.type !== "linked") return child.broken();
  const refused = answer.refused.map((line) => cleanLine(line));
  if (answer.error !== null) {
    throw new RewardModuleError(
      `Cannot load reward module ${specifier}: ${cleanLine(answer.error, 500)}`,
      { refused },
    );
  }
  const names = answer.names.filter((name) => /^[A-Za-z_$][\w$]{0,63}$/.test(name)).slice(0, 64);
  return { names, printed: cleanLines([...answer.printed, ...child.takeNoise()]), refused };
}

/** Turns the end of a child that loaded a module into an error of the module. */
export function asModuleError(specifier: string, error: unknown): unknown {
  if (!(error instanceof ChildDeathError)) return error;
  return new RewardModuleError(
    `Cannot load reward module ${specifier}: ${deathText(error.death, error.message, null)}`,
    { refused: error.death.refused.map((line) => cleanLine(line)), cause: error },
  );
}

/** Why a child ended, with advice. */
export function deathText(
  death: ChildDeath | null,
  message: string,
  timeoutMs: number | null,
): string {
  switch (death?.reason) {
    case "timeout":
      return timeoutMs === null
        ? "it was not ready in time"
        : `late: it took more than ${timeoutMs} ms; raise timeout_ms if it must`;
    case "memory":
      return `over its memory: ${death.detail}; raise memory_mb if it must`;
    default:
      return message;
  }
}
