/**
 * Lint rules of this project, for what people would otherwise have to remember. `deno lint` loads
 * them through `lint.plugins` in `deno.json`; `tests/lint/rules_test.ts` shows what each one finds.
 *
 * @module
 */

/** The text of a string or template literal and of sums of them; `null` stands for a value. */
function textParts(node: Deno.lint.Node | null | undefined): (string | null)[] {
  switch (node?.type) {
    case "Literal":
      return [typeof node.value === "string" ? node.value : null];
    case "TemplateLiteral": {
      const parts: (string | null)[] = [];
      node.quasis.forEach((quasi, i) => {
        if (i > 0) parts.push(null);
        if (quasi.cooked !== "") parts.push(quasi.cooked);
      });
      return parts;
    }
    case "BinaryExpression":
      return node.operator === "+" ? [...textParts(node.left), ...textParts(node.right)] : [null];
    default:
      return [null];
  }
}

/** Errors whose text is another argument than the first one; null if the class makes its text. */
const TEXT_ARGUMENT: Record<string, number | null> = {
  HubError: 1,
  NonFiniteError: null,
  OutOfMemoryError: null,
  RunFileError: null,
};

/** Errors whose text goes on after the command's name: `train: wants --config`. */
const CLAUSES = ["UsageError"];

/** Calls `check` with each error's text, except in tests: users never see those. */
function errorRule(
  check: (
    parts: readonly (string | null)[],
    errorName: string,
    text: Deno.lint.Node,
  ) => string | null,
  exceptions: readonly string[] = [],
): Deno.lint.Rule {
  return {
    create(context) {
      if (/\/tests\//.test(context.filename)) return {};
      if (exceptions.some((path) => context.filename.endsWith(`/${path}`))) return {};
      return {
        NewExpression(node) {
          if (node.callee.type !== "Identifier" || !/Error$/.test(node.callee.name)) return;
          const { name } = node.callee;
          const at = Object.hasOwn(TEXT_ARGUMENT, name) ? TEXT_ARGUMENT[name] : 0;
          const text = at === null ? undefined : node.arguments[at];
          if (text === undefined) return;
          const message = check(textParts(text), name, text);
          if (message !== null) context.report({ node: text, message });
        },
      };
    },
  };
}

/**
 * Files whose errors are reasons, clauses that the text of a caller takes in. A test refuses entries
 * that are no longer needed.
 */
export const REASON_FILES: readonly string[] = [
  "src/config/load_config.ts",
  "src/data/sources/parquet_pages.ts",
  "src/data/sources/parquet_source.ts",
  "src/hub/download_file.ts",
  "src/rewards/child/codec.ts",
  "src/rewards/graph/address_rules.ts",
  "src/rewards/graph/builtin_module.ts",
  "src/rewards/graph/local_module.ts",
  "src/rewards/graph/module_graph.ts",
  "src/rewards/graph/remote_module.ts",
  "src/rewards/graph/remote_package.ts",
];

const errorStart = errorRule(
  ([first], name) =>
    typeof first === "string" && /^[a-z]+ /.test(first) && !CLAUSES.includes(name)
      ? "An error text starts with a capital letter and the action: Cannot read …"
      : null,
  REASON_FILES,
);

const errorEnd = errorRule((parts) => {
  const last = parts.at(-1);
  return typeof last === "string" && /[^.]\.\s*$/.test(last)
    ? "An error text has no period at its end"
    : null;
});

const errorValue = errorRule((_, __, text) =>
  text.type === "TemplateLiteral" && text.expressions.length === 1 &&
    text.quasis.every(({ cooked }) => cooked.trim() === "")
    ? "An error text is more than a value: say what was wrong"
    : null
);

/** Most positional parameters of a function that other files call. */
const MOST_PARAMETERS = 4;
/** An op takes its operands in the order of its formula: q, k, v, layout, rotation. */
const MOST_PARAMETERS_OF_AN_OP = 6;

/** Files with functions from before the rule. The list only shrinks; a test refuses unused entries. */
export const LONG_PARAMETER_LISTS: readonly string[] = [
  "src/data/sources/text_source.ts",
  "src/data/streaming_dataset.ts",
  "src/image/antialias_resize.ts",
  "src/image/dynamic_size.ts",
  "src/image/pillow_resize.ts",
  "src/losses/dpo_transport_losses.ts",
  "src/model/initialize.ts",
  "src/model/vlm.ts",
  "src/ops/attention/attention_layout.ts",
  "src/ops/webgpu/product/product_operands.ts",
  "src/parity/compare_numbers.ts",
  "src/parity/recorded_numbers.ts",
  "src/train/grpo/passes.ts",
  "src/train/grpo/policy.ts",
  "src/train/loop/log_prob_gradients.ts",
  "tests/losses/finite_difference.ts",
  "tests/ops/half/assert_same_rounding.ts",
  "tests/ops/wasm/wasm_op.ts",
  "tests/ops/webgpu/webgpu_op.ts",
];

const positionalParameters: Deno.lint.Rule = {
  create(context) {
    if (LONG_PARAMETER_LISTS.some((path) => context.filename.endsWith(`/${path}`))) return {};
    const most = /\/src\/ops\//.test(context.filename) ? MOST_PARAMETERS_OF_AN_OP : MOST_PARAMETERS;
    const check = (node: Deno.lint.Node, parameters: readonly unknown[]) => {
      if (parameters.length <= most) return;
      context.report({
        node,
        message:
          `A function has ${most} positional parameters at most, this one ${parameters.length}`,
        hint: "Put the optional ones, or those that belong together, in an object",
      });
    };
    return {
      "ExportNamedDeclaration > FunctionDeclaration"(node: Deno.lint.FunctionDeclaration) {
        check(node, node.params);
      },
      MethodDefinition(node) {
        const isHidden = node.key.type === "PrivateIdentifier" || node.accessibility === "private";
        if (!isHidden) check(node, node.value.params);
      },
    };
  },
};

const ignoredLabel: Deno.lint.Rule = {
  create(context) {
    // Tests state the number: it is PyTorch's, not ours to change.
    if (/\/tests\//.test(context.filename)) return {};
    return {
      UnaryExpression(node) {
        if (node.operator !== "-" || node.argument.type !== "Literal") return;
        if (node.argument.value !== 100) return;
        const parent = node.parent;
        const named = parent.type === "VariableDeclarator" && parent.id.type === "Identifier" &&
          parent.id.name === "IGNORED_LABEL";
        if (named) return;
        context.report({ node, message: "Write IGNORED_LABEL, not -100" });
      },
    };
  },
};

const plugin: Deno.lint.Plugin = {
  name: "nanovlm",
  rules: {
    "error-start": errorStart,
    "error-end": errorEnd,
    "error-value": errorValue,
    "positional-parameters": positionalParameters,
    "ignored-label": ignoredLabel,
  },
};

export default plugin;
