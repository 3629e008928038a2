// SPDX-License-Identifier: Apache-2.0
// Parses PromQL as Prometheus's own web interface does. Reads a JSON list of expressions, writes a JSON list
// of { errors: [text], selectors: [{ text, metric, over, matchers: [{ label, operator, value }] }] }: `over` is
// whether the selector is of a range, as rate() wants it. Run where node_modules is.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";

const { parser } = createRequire(join(process.cwd(), "package.json"))("@prometheus-io/lezer-promql");

function parsed(expression) {
  const text = (node) => expression.slice(node.from, node.to);
  const errors = [];
  const selectors = [];
  parser.parse(expression).iterate({
    enter({ node }) {
      if (node.type.isError) errors.push(`at ${node.from}: '${expression.slice(node.from, node.from + 20)}'`);
      if (node.name !== "VectorSelector") return;
      const matchers = [];
      node.cursor().iterate(({ node: inner }) => {
        if (inner.name !== "UnquotedLabelMatcher") return;
        matchers.push({
          label: text(inner.getChild("LabelName")), operator: text(inner.getChild("MatchOp")),
          value: JSON.parse(text(inner.getChild("StringLiteral"))),
        });
      });
      const name = node.getChild("Identifier");
      selectors.push({
        text: text(node), metric: name === null ? "" : text(name), over: node.parent?.name === "MatrixSelector", matchers,
      });
    },
  });
  return { errors, selectors };
}

process.stdout.write(JSON.stringify(JSON.parse(readFileSync(0, "utf8")).map(parsed)));
