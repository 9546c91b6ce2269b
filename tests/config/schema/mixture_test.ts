import { assert, assertEquals } from "@std/assert";
import { parseConfig } from "../../../src/config/load_config.ts";
import { labelOf, probabilitiesOf } from "../../../src/config/schema/mixture.ts";
import { stringifyConfig } from "../../../src/config/stringify_config.ts";
import { configFault } from "../config_fault.ts";

const yaml = (dataset: string) =>
  `training_type: sft\nmodel: { model_name_or_path: folder }\ndataset:\n${dataset}`;

const TWO = `  mixture:
    datasets:
      - { path: org/docs, name: [a, b], weight: 3 }
      - { path: ./charts/data.jsonl, weight: 1, rename_columns: { q: question } }
`;

Deno.test("a mixture stands in place of train_data_path, and survives the resolved file", () => {
  const config = parseConfig(yaml(TWO));
  const { mixture, train_data_path, name } = config.dataset;
  assertEquals(train_data_path, "mixture of docs_a_b, data");
  assertEquals(mixture.datasets.map(labelOf), ["docs_a_b", "data"]);
  assertEquals(probabilitiesOf(mixture), [0.75, 0.25]);
  assertEquals([mixture.stopping_strategy, name], ["first_exhausted", []]);
  assertEquals(parseConfig(stringifyConfig(config)), config);
});

Deno.test("one configuration, several, or all may be named", () => {
  const nameOf = (text: string) =>
    parseConfig(yaml(`  train_data_path: x\n  name: ${text}\n`)).dataset.name;
  assertEquals(nameOf("all"), ["all"]);
  assertEquals(nameOf("[a, b]"), ["a", "b"]);
});

const wrong: [says: string, dataset: string][] = [
  ["excludes dataset.train_data_path", TWO + "  train_data_path: x\n"],
  ["entry 1 has no path", "  mixture: { datasets: [{ weight: 1 }] }\n"],
  ["two data sets are called x", "  mixture: { datasets: [{ path: x }, { path: a/x }] }\n"],
  ["want all or none", "  mixture: { datasets: [{ path: x, weight: 1 }, { path: y }] }\n"],
  ["got a sum of 0.5", "  mixture: { datasets: [{ path: x }], probabilities: [0.5] }\n"],
  ["want one for each of the 1", "  mixture: { datasets: [{ path: x }], probabilities: [1, 0] }\n"],
  ["did you mean path", "  mixture: { datasets: [{ pth: x }] }\n"],
  [
    "did you mean all_exhausted",
    "  mixture: { datasets: [{ path: x }], stopping_strategy: all }\n",
  ],
  [
    "eval_path excludes dataset.eval_data_path",
    "  eval_data_path: e\n  mixture: { datasets: [{ path: x, eval_path: y }] }\n",
  ],
];

for (const [says, dataset] of wrong) {
  Deno.test(`a mixture that is wrong says: ${says}`, () => {
    const { message } = configFault(yaml(dataset));
    const wanted = says === "did you mean all_exhausted" ? "first_exhausted, all_exhausted" : says;
    assert(message.includes(wanted), message);
  });
}

Deno.test("least ratings are SFT's alone", () => {
  const { message } = configFault(
    "training_type: dpo\nmodel: { model_name_or_path: x }\n" +
      "dataset: { train_data_path: x, relevance_min_rating: 3 }\n",
  );
  assert(message.includes("relevance_min_rating: leaves out turns"), message);
});
