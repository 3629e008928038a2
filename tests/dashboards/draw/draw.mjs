// SPDX-License-Identifier: Apache-2.0
// Draws what record.py has recorded: a picture of each dashboard.
// usage: draw.mjs RECORDED FOLDER [light]   in a folder with node_modules
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";

const [recorded, folder, mode = "dark"] = process.argv.slice(2);
const here = createRequire(join(process.cwd(), "package.json"));
const esbuild = here("esbuild");
const { chromium } = here("playwright-core");

mkdirSync(folder, { recursive: true });
const page = join(resolve(folder), "page.html");
const text = readFileSync(recorded, "utf8");
const built = await esbuild.build({
  entryPoints: [join(import.meta.dirname ?? new URL(".", import.meta.url).pathname, "page.tsx")], bundle: true, write: false, format: "iife",
  jsx: "automatic", nodePaths: [join(process.cwd(), "node_modules")], logLevel: "error", minify: true,
  define: { "process.env.NODE_ENV": '"production"', global: "globalThis" },
  loader: { ".svg": "dataurl", ".png": "dataurl", ".woff2": "dataurl", ".ttf": "empty" }, outdir: folder,
});
const code = built.outputFiles.find((file) => file.path.endsWith(".js")).text.replaceAll("</script", "<\\/script");
const style = built.outputFiles.find((file) => file.path.endsWith(".css"))?.text ?? "";
writeFileSync(page, `<!doctype html><meta charset="utf-8"><style>${style}</style><div id="board"></div>
<script>const recorded = ${text.replaceAll("</", "<\\/")};</script><script>${code}</script>`);

const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: ["--no-sandbox"] });
let wrong = 0;
for (const [number, { uid }] of JSON.parse(text).boards.entries()) {
  const tab = await browser.newPage({ viewport: { width: 1430, height: 900 } });
  tab.on("pageerror", (error) => { ++wrong; console.error(`${uid}: ${error.message}`); });
  await tab.goto(`${pathToFileURL(page)}?board=${number}&mode=${mode}`);
  await tab.waitForTimeout(3000);
  await tab.screenshot({ path: join(folder, `${uid}.png`), fullPage: true });
  await tab.close();
  console.log(`${uid}.png`);
}
await browser.close();
process.exit(wrong === 0 ? 0 : 1);
