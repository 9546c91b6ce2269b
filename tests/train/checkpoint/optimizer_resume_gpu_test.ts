import { assertEquals } from "@std/assert";
import { OPTIMIZER_NAMES } from "../../../src/config/schema/optimizer/optimizer_names.ts";
import { gpuTest } from "../../gpu_adapter.ts";
import { LORA, tinySFT } from "../sft/tiny_sft.ts";

for (const name of OPTIMIZER_NAMES) {
  gpuTest(`${name} on webgpu: a resumed run of three groups ends with the same bytes`, async () => {
    const settings = [
      ...["training.max_steps=3", "training.save_steps=1", "training.save_total_limit=9"],
      ...[
        "training.max_grad_norm=0.5",
        "training.lr_vision_backbone=1e-3",
        `training.optim=${name}`,
      ],
      ...(name.endsWith("8bit") ? ["training.optim_args.min_8bit_size=64"] : []),
      ...LORA,
    ];
    const backend = "webgpu";
    await using whole = await tinySFT(settings, { backend });
    await whole.trainer.train();
    const expected = [await whole.weights(), await whole.trainer.optimizer.state()];
    await using rest = await tinySFT(settings, { backend });
    await rest.trainer.resume(`${whole.folder}/checkpoint-1`);
    await rest.trainer.train();
    assertEquals([await rest.weights(), await rest.trainer.optimizer.state()], expected);
  });
}
