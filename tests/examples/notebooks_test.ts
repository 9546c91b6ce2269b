/**
 * The notebooks run from top to bottom in Deno's Jupyter kernel. Needs `jupyter execute` (PyPI's
 * nbclient) on PATH; the kernel is this very Deno, named by a kernelspec in a temporary folder.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";

interface Output {
  output_type: string;
  data?: Record<string, unknown>;
  text?: string | string[];
  ename?: string;
  evalue?: string;
}

interface Notebook {
  metadata: { kernelspec: { name: string } };
  cells: { cell_type: string; source: string | string[]; outputs?: Output[] }[];
}

const folder = new URL("../../examples/", import.meta.url);
const names = ["nanovlm_sft", "nanovlm_dpo", "nanovlm_grpo"];
const text = (value: string | string[] | undefined) => [value ?? ""].flat().join("");

async function read(path: string | URL): Promise<Notebook> {
  return JSON.parse(await Deno.readTextFile(path));
}

/** Why the notebooks cannot be run here; null if they can. */
async function whyNot(): Promise<string | null> {
  try {
    const { success } = await new Deno.Command("jupyter", {
      args: ["execute", "--version"],
      stdout: "null",
      stderr: "null",
    }).output();
    return success ? null : "jupyter has no command execute: pip install nbclient";
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
    return "jupyter is not on PATH: pip install nbclient";
  }
}

/** A data folder for Jupyter with one kernel: this Deno. */
async function writeKernelspec(dir: string): Promise<void> {
  await Deno.mkdir(`${dir}/kernels/deno`, { recursive: true });
  const spec = {
    argv: [Deno.execPath(), "jupyter", "--kernel", "--conn", "{connection_file}"],
    display_name: "Deno",
    language: "typescript",
  };
  await Deno.writeTextFile(`${dir}/kernels/deno/kernel.json`, JSON.stringify(spec));
}

/** Runs a notebook in its own folder and reads what came out, which lies elsewhere. */
async function execute(name: string): Promise<Notebook> {
  const dir = await Deno.makeTempDir({ prefix: "notebook_" });
  try {
    await writeKernelspec(dir);
    const { success, stderr } = await new Deno.Command("jupyter", {
      args: ["execute", "--allow-errors", `${name}.ipynb`, `--output=${dir}/${name}.ipynb`],
      cwd: folder,
      env: { JUPYTER_PATH: dir, JUPYTER_PLATFORM_DIRS: "1" },
      stdout: "null",
      stderr: "piped",
    }).output();
    assert(success, `jupyter execute failed:\n${new TextDecoder().decode(stderr).slice(-3000)}`);
    return await read(`${dir}/${name}.ipynb`);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

/** The numbers of a notebook's table before/after, row by row, without their units. */
function tableRows(outputs: readonly Output[]): Map<string, number[]> {
  const markdown = outputs.map(({ data }) => text(data?.["text/markdown"] as string | string[]))
    .join("\n");
  return new Map(
    markdown.split("\n").filter((line) => /^\|.*\d/.test(line)).map((line) => {
      const [name, ...cells] = line.split("|").slice(1, -1).map((cell) => cell.trim());
      return [name.replaceAll("*", ""), cells.map((cell) => parseFloat(cell.replaceAll("*", "")))];
    }),
  );
}

/** What the tables must show for the notebook to have taught something. */
const learned: Record<string, (rows: Map<string, number[]>) => void> = {
  nanovlm_sft(rows) {
    const [asked, right] = rows.get("all") ?? [];
    assertEquals(asked, 300);
    assert(right >= 60, `${right} % of the held-out questions answered right, want 60 %`);
  },
  nanovlm_dpo(rows) {
    const [before, after] = rows.get("chosen answer is likelier") ?? [];
    assert(after >= before + 10, `accuracy went from ${before} to ${after} %`);
  },
  nanovlm_grpo(rows) {
    const [before, after] = rows.get("mean reward") ?? [];
    assert(after >= before + 0.3, `mean reward went from ${before} to ${after}`);
  },
};

for (const name of names) {
  Deno.test(`${name}.ipynb names the Deno kernel and holds no path of a machine`, async () => {
    const notebook = await read(new URL(`${name}.ipynb`, folder));
    assertEquals(notebook.metadata.kernelspec.name, "deno");
    const cells = JSON.stringify(notebook.cells.map(({ source, outputs }) => ({
      source,
      outputs: outputs?.map(({ data, ...rest }) => ({
        ...rest,
        // Pictures are base64, in which anything may stand.
        data: JSON.stringify(data ?? {}).replaceAll(/base64,[^"\\]*/g, ""),
      })),
    })));
    const found = cells.match(/(\/tmp\/|\/home\/|\/root\/|\/Users\/|file:\/\/|[A-Z]:\\\\)[^" ]*/);
    assertEquals(found?.[0], undefined);
  });
}

const reason = await whyNot();
if (reason !== null) console.log(`notebooks are not run: ${reason}`);

for (const name of names) {
  Deno.test({
    name: `${name}.ipynb runs without an error, draws, and teaches the model something`,
    ignore: reason !== null,
    async fn() {
      const { cells } = await execute(name);
      const outputs = cells.flatMap((cell) => cell.outputs ?? []);
      const errors = outputs.filter(({ output_type }) => output_type === "error");
      assertEquals(errors.map(({ ename, evalue }) => `${ename}: ${evalue}`), []);

      const drawings = outputs.map(({ data }) => data?.["image/svg+xml"])
        .filter((svg) => svg !== undefined).map((svg) => text(svg as string | string[]));
      const unwritable = drawings.flatMap((svg) => svg.match(/[^\n\P{Cc}]/gu) ?? []);
      assertEquals(unwritable, [], "a drawing with control characters is no XML");
      assert(drawings.some((svg) => svg.includes("data:image/png;base64,")), "no picture");
      const curve = drawings.find((svg) => svg.includes("<polyline"));
      assert(curve !== undefined, "no plot");
      const points = (/points="([^"]*)"/.exec(curve)?.[1] ?? "").split(" ");
      assert(points.length >= 10, `the plot has ${points.length} points, want 10 or more`);
      assert(points.every((point) => /^[\d.]+,-?[\d.]+$/.test(point)), `bad points: ${points}`);
      learned[name](tableRows(outputs));
    },
  });
}
