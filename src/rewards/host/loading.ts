/** Loads a checked graph into a child, and puts failures into words. */
import { type ChildDeath, ChildDeathError, type SandboxChild } from "./child_process.ts";
import { type ModuleGraph, RewardModuleError } from "../graph/module_graph.ts";
import { cleanLine, cleanLines } from "./printed_text.ts";
import type { ResolvedGrants } from "./sandbox_grants.ts";
import type { ImportRequest, ModuleSource } from "../child/protocol.ts";

/** Functions of a module that are used. */
const MAX_FUNCTIONS = 64;

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
  grants: ResolvedGrants,
): Promise<{ names: string[]; printed: string[]; refused: string[] }> {
  const { entry, resolutions } = graph;
  const reads = grants.read === true ? true : [...grants.read];
  const timeoutMs = grants.startTimeoutMs;
  const order = { type: "link", entry, resolutions, reads, timeoutMs } as const;
  const answer = await child.request(order, timeoutMs);
  if (answer.type !== "linked") return child.broken();
  const refused = answer.refused.map((line) => cleanLine(line, 600));
  if (answer.error !== null) {
    throw new RewardModuleError(
      `Cannot load reward module ${specifier}: ${cleanLine(answer.error, 500)}`,
      { refused },
    );
  }
  const usable = answer.names.filter((name) =>
    /^[A-Za-z_$][\w$]{0,63}$/.test(name) && name !== "__proto__"
  );
  const names = [...new Set(usable)].slice(0, MAX_FUNCTIONS);
  const unused = answer.names.filter((name) => !names.includes(name));
  if (unused.length > 0) {
    refused.push(cleanLine(
      `exports ${answer.names.length} functions; ${unused.length} of them are not used: want ` +
        `${MAX_FUNCTIONS} at most, with plain names of up to 64 letters: ${
          unused.slice(0, 5).map((name) => cleanLine(name, 64)).join(", ")
        }`,
      600,
    ));
  }
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
    case "processor":
      return timeoutMs === null
        ? `it was stopped: ${death.detail}`
        : `late: ${death.detail} of ${timeoutMs} ms; raise timeout_ms if it must`;
    case "memory":
      return `over its memory: ${death.detail}; raise memory_mb if it must`;
    default:
      return message;
  }
}
