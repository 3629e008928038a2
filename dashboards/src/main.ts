// SPDX-License-Identifier: Apache-2.0
// Writes each dashboard as JSON.
// usage: node main.js FOLDER
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { fleet } from "./fleet.js";
import { host } from "./host.js";
import { hypervisor } from "./hypervisor.js";
import { server } from "./server.js";

const folder = process.argv[2];
if (process.argv.length !== 3 || folder === undefined) {
  console.error("usage: node main.js FOLDER");
  process.exit(2);
}
for (const [name, make] of Object.entries({ fleet, host, server, hypervisor })) {
  const made = make();
  (made.panels ?? []).forEach((panel, index) => { panel.id = index + 1; });
  writeFileSync(join(folder, `${name}.json`), `${JSON.stringify(made, null, 2)}\n`);
}
