// SPDX-License-Identifier: Apache-2.0
// vmsrsd's status page in a headless browser: above a real daemon, and with documents made up here.
// usage: page_test.mjs VMSRSD_ON_MONITOR [FOLDER FOR PICTURES]
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { chromium } from "playwright-core";

const [program, pictures] = process.argv.slice(2);

function freePort() {
  return new Promise((resolve) => {
    const probe = createServer().listen(0, "127.0.0.1", () => {
      const { port } = probe.address();
      probe.close(() => resolve(port));
    });
  });
}

async function until(what, condition) {
  for (let turn = 0; turn < 200; ++turn) {
    if (await condition()) return;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  assert.fail(`never: ${typeof what === "function" ? what() : what}`);
}

const host = {
  mode: "suppression", isolation: "hypervisor", devices: "free", uptime_seconds: 7500,
  active_users: 3, suppressed_users: 2, stuck_users: 0, users_finished: 10, users_collected: 1,
  suppressed_stores: 6, restores: { demand: 1, crash: 0, collection: 2, sweep: 0 },
  faults: { wild: 2, null: 1 }, storage_used_bytes: 3 << 20, storage_bytes: 64 << 20,
  hidden_accesses_refused: 0, denied_calls: 0,
};
const markup = "<img src=x onerror=\"document.title='broken'\">";
const made = {
  time: 1700000000, problem: null, host,
  servers: [{ name: markup, attached: true, active_users: 3, suppressed_users: 2, stuck_users: 0, regions: 2,
    region_bytes: 1 << 20, kept_region_bytes: 0, contended_granules: 4, restores: 3, unprotected_stores: 0 }],
  users: [
    { server: markup, slot: 7, state: "stuck", kind: "wild", suppressed_seconds: 300, records: 4 },
    { server: markup, slot: 8, state: "crashed", kind: "null", suppressed_seconds: 1.25, records: 0 },
  ],
  maps: [
    { server: markup, region: 0, name: "carts", state: "live", bytes: 1 << 20, bucket_bytes: 8192, age_seconds: 2,
      hidden_only: false, owned: Array.from({ length: 128 }, (_, i) => (i < 40 ? 3 : 0)),
      contended: Array.from({ length: 128 }, (_, i) => (i < 7 ? 1 : 0)),
      restored: Array.from({ length: 128 }, (_, i) => (i > 30 && i < 60 ? 2 : 0)) },
    { server: "roster", region: 3, name: "", state: "kept", bytes: 4096, bucket_bytes: 64, age_seconds: null,
      hidden_only: true, owned: Array(64).fill(0), contended: Array(64).fill(0), restored: Array(64).fill(0) },
  ],
  last_check: { time: 1699999990, ok: false, violated: 1, unverified: 0, unprotected: 0 },
  checks: [
    { name: "mirror", verdict: "violated", examined: 12, violations: 3, reason: null },
    { name: "hidden", verdict: "ok", examined: 1, violations: 0, reason: null },
  ],
  history: { step_seconds: 15, steps: 240, faults: [0, 2, 0, 1], restores: [0, 3, 0, 0], suppressed_users: [0, 1, 2, 2] },
};

async function opened(browser, address, options = {}, answer = undefined) {
  const context = await browser.newContext({ viewport: { width: 1200, height: 1100 }, ...options });
  const page = await context.newPage();
  page.complaints = [];
  page.on("pageerror", (error) => page.complaints.push(error.message));
  page.on("console", (line) => { if (line.type() === "error") page.complaints.push(line.text()); });
  page.on("request", (request) => {
    if (!request.url().startsWith(address)) page.complaints.push(`outside: ${request.url()}`);
  });
  if (answer !== undefined) await page.route("**/page.json", answer);
  await page.goto(address);
  return page;
}

const fulfilled = (document) => (route) => route.fulfill({ json: document });

const tests = {
  async shows_a_real_daemon(browser, address) {
    const page = await opened(browser, address);
    await until("an answer", async () => (await page.textContent("#mode")).startsWith("normal"));
    assert.equal(await page.textContent("#users"), "Nobody.");
    assert.match(await page.textContent("#checks"), /None since vmsrsd was started/);
    assert.equal(await page.textContent("#maps"), "No server has a region.");
    assert.ok(await page.isHidden("#problem"));
    assert.deepEqual(page.complaints, []);
  },
  async shows_users_plots_and_checks(browser, address) {
    const page = await opened(browser, address, {}, fulfilled(made));
    await until("the mode", async () => (await page.textContent("#mode")) === "2 under suppression");
    const users = page.locator("#users tbody tr");
    assert.equal(await users.count(), 2);
    assert.match(await users.nth(0).textContent(), /stuck.*wild.*5 min.*4/);
    assert.match(await users.nth(1).textContent(), /crashed.*null.*1\.3 s.*0/);
    const bars = (place) => page.locator("#plots figure").nth(place).locator(".bar").count();
    assert.deepEqual([await bars(0), await bars(1), await bars(2)], [2, 1, 3]);
    assert.match(await page.locator("#checks tbody tr").nth(0).textContent(), /mirror.*violated.*12.*3/);
    const maps = page.locator("#maps figure");
    assert.equal(await maps.count(), 2);
    const marks = async (place, what) => maps.nth(place).locator(`.${what}`).count();
    assert.deepEqual([await marks(0, "contended"), await marks(0, "owned"), await marks(0, "restored"), await marks(0, "cell")],
      [7, 33, 20, 68]);
    const heights = await maps.nth(0).locator("rect").evaluateAll((all) =>
      Object.fromEntries(all.map((rect) => [rect.getAttribute("class"), rect.getAttribute("height")])));
    assert.equal(new Set(Object.values(heights)).size, 4);  // told apart without colours
    assert.match(await maps.nth(0).textContent(), /carts.*120 granules owned, 7 contended, 58 restorations/);
    assert.match(await maps.nth(1).textContent(), /roster, region 3.*kept.*nobody has looked yet.*hidden memory alone/);
    if (pictures !== undefined) await page.locator("#maps").screenshot({ path: join(pictures, "page-maps.png") });
    assert.match(await page.textContent("#host"), /not kept from hidden memory/);
    if (pictures !== undefined) await page.screenshot({ path: join(pictures, "page-light.png") });
    assert.deepEqual(page.complaints, []);
  },
  async takes_names_as_text(browser, address) {
    const page = await opened(browser, address, {}, fulfilled(made));
    await until("servers", async () => (await page.locator("#servers tbody tr").count()) === 1);
    assert.match(await page.textContent("#servers"), /<img src=x/);
    assert.equal(await page.locator("img").count(), 0);
    assert.equal(await page.title(), "VMSRS");
  },
  async tells_when_there_is_no_news(browser, address) {
    let document = made;
    let alive = true;
    const page = await opened(browser, address, {}, (route) =>
      (alive ? route.fulfill({ json: document }) : route.abort()));
    await until("the mode", async () => (await page.textContent("#mode")) === "2 under suppression");
    alive = false;
    await until("the problem", async () => page.isVisible("#problem"));
    assert.equal(await page.textContent("#mode"), "unknown");
    alive = true;
    document = { time: 1, problem: "NO_HYPERVISOR" };
    await until("its reason", async () => /cannot ask the engine: NO_HYPERVISOR/.test(await page.textContent("#problem")));
    document = { ...made, host: { ...host, stuck_users: 1 } };
    await until("news", async () => page.isHidden("#problem"));
    assert.equal(await page.textContent("#mode"), "1 stuck, 2 under suppression");
  },
  async fits_a_phone_in_the_dark(browser, address) {
    const phone = { viewport: { width: 360, height: 760 }, colorScheme: "dark" };
    const page = await opened(browser, address, phone, fulfilled(made));
    await until("users", async () => (await page.locator("#users tbody tr").count()) === 2);
    const [wide, back] = await page.evaluate(() =>
      [document.documentElement.scrollWidth, getComputedStyle(document.body).backgroundColor]);
    assert.ok(wide <= 360, `${wide} pixels wide`);
    assert.equal(back, "rgb(14, 17, 22)");
    if (pictures !== undefined) await page.screenshot({ path: join(pictures, "page-phone.png"), fullPage: true });
  },
};

const folder = mkdtempSync(join(tmpdir(), "vmsrs-page-"));
const port = await freePort();
writeFileSync(join(folder, "secret"), `${"11".repeat(32)}\n`, { mode: 0o600 });
writeFileSync(join(folder, "vmsrs.yaml"),
  `management: {secret_file: ${folder}/secret}\nevents: {store: ${folder}/events.db}\nmetrics: {listen: '127.0.0.1:${port}'}\n` +
  `api: {socket: ${folder}/api.sock}\n`);
const daemon = spawn(program, ["--config", join(folder, "vmsrs.yaml")], { stdio: ["ignore", "ignore", "pipe"] });
let log = "";
daemon.stderr.on("data", (piece) => { log += piece; });
let failed = 0;
try {
  const address = `http://127.0.0.1:${port}/`;
  await until(() => `vmsrsd answers: ${log}`, () => fetch(address).then((answer) => answer.ok, () => false));
  const browser = await chromium.launch({ executablePath: "/usr/bin/chromium", args: ["--no-sandbox"] });
  for (const [name, test] of Object.entries(tests)) {
    try {
      await test(browser, address);
      console.log(`${name}: passed`);
    } catch (error) {
      failed += 1;
      console.log(`${name}: FAILED: ${error.message}`);
    }
  }
  await browser.close();
} finally {
  daemon.kill();
  rmSync(folder, { recursive: true });
}
process.exitCode = failed === 0 ? 0 : 1;
