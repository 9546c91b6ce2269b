/**
 * `doctor`.
 *
 * @module
 */
import type { DoctorLine } from "../src/device/doctor.ts";
import { type OptionSpec, parseOptions } from "./arguments.ts";
import type { Command } from "./command.ts";
import { VERSION } from "./version.ts";

/** What `doctor` was asked for. */
export interface DoctorOptions {
  readonly json: boolean;
}

const options: readonly OptionSpec[] = [
  {
    name: "json",
    kind: "flag",
    summary: "print one JSON object on stdout, and nothing else there",
  },
];

/**
 * Parses the arguments of `doctor`.
 *
 * @throws {UsageError}
 */
export function parseDoctorArguments(args: readonly string[]): DoctorOptions {
  const parsed = parseOptions(args, options);
  return { json: parsed.flag("json") };
}

/** What the device and the reward sandbox say of this machine. */
async function findings(): Promise<DoctorLine[]> {
  const { doctorReport } = await import("../src/device/doctor.ts");
  const { describeSystemWalls } = await import("../src/rewards/host/system_walls.ts");
  const { hubSettings } = await import("../src/hub/hub_settings.ts");
  const { endpoint, token, cacheDir, offline } = hubSettings();
  return [
    { topic: "nanovlm", value: VERSION, good: true },
    ...await doctorReport(),
    ...(await describeSystemWalls()).map((text): DoctorLine => {
      const [topic, value] = splitOnce(text, ": ");
      return { topic, value, good: !value.startsWith("no ") };
    }),
    await chosenBackend(),
    await openMpi(),
    {
      topic: "Hub",
      value: `${endpoint}${offline ? ", offline" : ""}, ${
        token === null ? "no token" : "with a token"
      }, cache ${cacheDir}`,
      good: true,
    },
  ];
}

/** The library that joins several processes. */
async function openMpi(): Promise<DoctorLine> {
  const { findMpi } = await import("../src/distributed/mpi_library.ts");
  const library = findMpi();
  const topic = "several processes";
  return "reason" in library
    ? { topic, value: `no: ${library.reason}`, good: true }
    : { topic, value: `by mpirun: ${library.version} (${library.file})`, good: true };
}

/** What `--backend auto` takes here. */
async function chosenBackend(): Promise<DoctorLine> {
  const { initBackend } = await import("../src/device/backend.ts");
  const { reason } = await initBackend({ backend: "auto" });
  return { topic: "backend auto", value: reason, good: true };
}

function splitOnce(text: string, at: string): [string, string] {
  const index = text.indexOf(at);
  return index < 0 ? ["", text] : [text.slice(0, index), text.slice(index + at.length)];
}

/** Prints findings, each with its advice below it. */
function print(lines: readonly DoctorLine[]): void {
  const width = Math.max(...lines.map(({ topic }) => topic.length));
  for (const { topic, value, good, advice } of lines) {
    console.log(`${good ? " " : "!"} ${topic.padEnd(width)}  ${value}`);
    if (advice !== undefined) console.log(`  ${" ".repeat(width)}  → ${advice}`);
  }
}

/** The command. */
export const command: Command = {
  name: "doctor",
  summary: "show what this machine has, and what is missing",
  usage: "[--json]",
  options,
  async run(args) {
    const { json } = parseDoctorArguments(args);
    const lines = await findings();
    if (json) console.log(JSON.stringify({ findings: lines }));
    else print(lines);
    return 0;
  },
};
