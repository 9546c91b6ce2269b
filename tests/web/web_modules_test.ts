import { assert, assertEquals } from "@std/assert";
import { pageFiles } from "../../src/web/page_files.ts";
import { bundleWeb } from "../../tasks/build_web.ts";

/** 1.5 MB, the limit for the page without its model. */
const MOST_BYTES = 1_500_000;

async function compressed(bytes: Uint8Array<ArrayBuffer>): Promise<number> {
  const stream = new Blob([bytes]).stream().pipeThrough(new CompressionStream("gzip"));
  return (await new Response(stream).arrayBuffer()).byteLength;
}

Deno.test("the checked-in modules of the page are those of the sources", async () => {
  const files = await pageFiles();
  for (const [name, text] of (await bundleWeb()).texts) {
    const checkedIn = new TextDecoder().decode(files.get(name));
    assert(checkedIn === text, `${name} is out of date: run deno task build-web`);
  }
});

Deno.test("the site names the license of each package that it has code of", async () => {
  const text = new TextDecoder().decode((await pageFiles()).get("licenses.txt"));
  for (
    const name of ["@tensorflow/tfjs-core", "@huggingface/jinja", "imagescript", "@cwasm/webp"]
  ) {
    assert(text.includes(`\n${name} `), `${name} is not in licenses.txt`);
  }
  assert(text.includes("Apache License") && text.includes("Permission is hereby granted"));
});

Deno.test("the page without its model is below 1.5 MB as hosts send it", async () => {
  let sum = 0;
  for (const bytes of (await pageFiles()).values()) sum += await compressed(bytes);
  assert(sum < MOST_BYTES, `${sum} bytes`);
});

Deno.test("modules of the page import nothing that a browser lacks", async () => {
  const files = await pageFiles();
  for (const name of ["nanovlm-web.js", "nanovlm-worker.js"]) {
    const text = new TextDecoder().decode(files.get(name));
    assertEquals(text.match(/(?:from|import)\s*\(?\s*["'](?:node|npm|jsr):[^"']*["']/g), null);
  }
});

Deno.test("the types of the module check a page of its own", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const types = (await pageFiles()).get("nanovlm-web.d.ts")!;
    await Deno.writeFile(`${folder}/nanovlm-web.d.ts`, types);
    await Deno.writeTextFile(`${folder}/nanovlm-web.js`, "export function loadModel() {}\n");
    const check = async (source: string) => {
      await Deno.writeTextFile(
        `${folder}/page.ts`,
        `// @ts-types="./nanovlm-web.d.ts"\nimport { loadModel } from "./nanovlm-web.js";\n${source}`,
      );
      const { success, stderr } = await new Deno.Command(Deno.execPath(), {
        args: ["check", "--no-config", "page.ts"],
        cwd: folder,
        env: { NO_COLOR: "1" },
      }).output();
      return success ? "" : new TextDecoder().decode(stderr);
    };
    const good = `const model = await loadModel({ backend: "wasm" });
const { text } = await model.ask({ prompt: "?", images: [new Uint8Array(1)] }, { topK: 3 });
export const shown: string = text;`;
    assertEquals(await check(good), "");
    assert((await check(`await loadModel({ backend: "cpu" });`)).includes(`"cpu"`));
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
