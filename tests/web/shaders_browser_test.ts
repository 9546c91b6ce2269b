/** Every WGSL program of a generation, compiled by Dawn, the WebGPU of Chromium. */
import { assert, assertEquals } from "@std/assert";
import { hasChromium, launchChromium } from "../chromium.ts";
import { gpuTest } from "../gpu_adapter.ts";
import { FLAGS } from "./open_site.ts";
import { QUESTIONS, smallSite } from "./small_site.ts";
import { serveStatic } from "./static_server.ts";

const root = new URL("../../", import.meta.url);

interface Program {
  readonly label: string;
  readonly code: string;
}

/**
 * The programs that Deno compiles while a model answers, greedily and sampled.
 *
 * @param asHardware hide that the adapter is software, which other programs run on
 */
async function programsOf(model: string, asHardware: boolean): Promise<Program[]> {
  const script = `
    if (${asHardware}) {
      Object.defineProperty(GPUAdapterInfo.prototype, "isFallbackAdapter", { get: () => false });
    }
    const { initBackend } = await import("${root.href}src/device/backend.ts");
    const { loadModel } = await import("${root.href}src/generate/load_model.ts");
    await initBackend({ backend: "webgpu" });
    const { model } = await loadModel(${JSON.stringify(model)});
    const png = Uint8Array.from(${JSON.stringify([...QUESTIONS[0].png])});
    for (const choice of [{ greedy: true }, { temperature: 0.7, topK: 5, topP: 0.9 }]) {
      const options = { ...choice, maxNewTokens: 4, numReturnSequences: choice.greedy ? 1 : 2 };
      await model.generate({ prompt: "What is it?", images: [png] }, options);
    }
    Deno.exit(0);
  `;
  const file = await Deno.makeTempFile({ suffix: ".ts" });
  try {
    await Deno.writeTextFile(file, script);
    const { success, stderr } = await new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", "--quiet", "--no-check", "--config", `${root.pathname}deno.json`, file],
      env: { NANOVLM_TRACE_KERNELS: "wgsl", NO_COLOR: "1" },
      stdin: "null",
    }).output();
    const text = new TextDecoder().decode(stderr);
    assert(success, text.slice(-2000));
    return text.split("// WGSL program: ").slice(1).map((program) => {
      const end = program.indexOf("\n");
      return { label: program.slice(0, end), code: program.slice(end + 1) };
    });
  } finally {
    await Deno.remove(file);
  }
}

/** Compiles programs in the page; what is wrong with them. */
const COMPILE = `async (programs) => {
  const adapter = await navigator.gpu.requestAdapter();
  const requiredLimits = {};
  for (const name in adapter.limits) {
    if (!/Subgroup/.test(name)) requiredLimits[name] = adapter.limits[name];
  }
  const requiredFeatures = ["shader-f16"].filter((name) => adapter.features.has(name));
  const device = await adapter.requestDevice({ requiredLimits, requiredFeatures });
  const problems = [];
  let compiled = 0;
  for (const { label, code } of programs) {
    if (/^enable f16/m.test(code) && requiredFeatures.length === 0) continue;
    const module = device.createShaderModule({ label, code });
    const { messages } = await module.getCompilationInfo();
    for (const { type, lineNum, message } of messages) {
      if (type !== "info") problems.push(label + ", line " + lineNum + ", " + type + ": " + message);
    }
    try {
      await device.createComputePipelineAsync({ layout: "auto", compute: { module } });
      compiled++;
    } catch (error) {
      problems.push(label + ": " + error.message);
    }
  }
  return { problems, compiled };
}`;

gpuTest(
  "every WGSL program that generation uses compiles in Chromium, without a warning",
  async () => {
    if (!hasChromium) return console.error("skipped: no Chromium here");
    await using site = await smallSite();
    await using host = serveStatic(site.root);
    const programs = new Map<string, Program>();
    for (const asHardware of [false, true]) {
      for (const program of await programsOf(site.model, asHardware)) {
        programs.set(program.code, program);
      }
    }
    assert(programs.size > 20, `${programs.size} programs`);
    const browser = await launchChromium(FLAGS.webgpu);
    try {
      const page = await browser.newPage();
      // A page of a secure origin, which WebGPU wants, with no policy against the script above.
      await page.goto(`${host.origin}/none`);
      const compile = (list: readonly Program[]) =>
        page.evaluate(`(${COMPILE})(${JSON.stringify(list)})`) as Promise<
          { problems: string[]; compiled: number }
        >;
      const broken = { label: "broken", code: "@compute @workgroup_size(1) fn main() { x = 1; }" };
      assert((await compile([broken])).problems[0].startsWith("broken, line 1, error"));
      const found = await compile([...programs.values()]);
      assertEquals(found.problems, []);
      assertEquals(found.compiled, programs.size);
    } finally {
      await browser.close();
    }
  },
);
