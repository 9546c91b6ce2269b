/**
 * `train dpo` with a loss of unpaired answers: what KTO needs beside the loop.
 *
 * @module
 */
import type { ResolvedConfig } from "../../config/types/config_types.ts";
import { prepareData } from "../batches/prepare_data.ts";
import { configuredGroups, splitByDecay } from "../optimizer/parameter_groups.ts";
import { evaluateBefore } from "../run/before_training.ts";
import type { PreparedModel } from "../run/prepare_model.ts";
import type { RunSetup } from "../run/run_driver.ts";
import { askCommands, dataFacts } from "../run/run_texts.ts";
import { ktoFacts, ktoMethod } from "./setup.ts";

/** The method, groups and closing results of KTO. */
export async function setUpKTO(
  config: ResolvedConfig,
  prepared: PreparedModel,
  signal: AbortSignal | undefined,
): Promise<RunSetup> {
  const data = await prepareData(config, "unpaired", signal);
  const { train, evaluation, warnings } = data;
  const groups = splitByDecay(configuredGroups(prepared.model, config.training));
  const { method, dispose } = ktoMethod(config, { prepared, train, evaluation, groups });
  return {
    method,
    groups,
    warnings,
    title: `KTO on ${config.dataset.train_data_path}`,
    facts: [dataFacts(config, data, "answers"), ktoFacts(config)],
    before: (signal) => evaluateBefore(method, prepared.model, evaluation, signal),
    async closing({ status }, signal) {
      if (status === "done") await method.evaluate(signal);
      return { tables: [], concerns: [], next: askCommands(config) };
    },
    dispose,
  };
}
