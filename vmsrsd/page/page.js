// SPDX-License-Identifier: Apache-2.0
// Asks for page.json every two seconds and shows it. All text goes in as text, never as markup.
"use strict";

const PERIOD_MS = 2000;
const SVG = "http://www.w3.org/2000/svg";
const at = (id) => document.getElementById(id);

function element(name, text, className) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  if (className) made.className = className;
  return made;
}

function drawing(name, attributes, text) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

function duration(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  if (seconds < 1) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 120) return `${seconds < 10 ? seconds.toFixed(1) : Math.round(seconds)} s`;
  if (seconds < 7200) return `${Math.round(seconds / 60)} min`;
  return seconds < 172800 ? `${Math.round(seconds / 3600)} h` : `${Math.round(seconds / 86400)} d`;
}

function size(bytes) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0;
  for (; bytes >= 1024 && unit + 1 < units.length; ++unit) bytes /= 1024;
  return `${unit > 0 && bytes < 10 ? bytes.toFixed(1) : Math.round(bytes)} ${units[unit]}`;
}

// columns: [header, is it a number]; rows of [text, class].
function table(columns, rows) {
  const all = element("table");
  const head = all.createTHead().insertRow();
  for (const [header, number] of columns) head.append(element("th", header, number ? "number" : ""));
  const body = all.createTBody();
  for (const row of rows) {
    const line = body.insertRow();
    row.forEach(([text, className], place) => {
      const cell = element("td", text, className);
      if (columns[place][1]) cell.classList.add("number");
      line.append(cell);
    });
  }
  const scroll = element("div", undefined, "scroll");
  scroll.append(all);
  return scroll;
}

function fill(id, ...parts) {
  at(id).replaceChildren(...parts);
}

function showMode(host) {
  const mode = at("mode");
  if (host.stuck_users > 0) {
    mode.textContent = `${host.stuck_users} stuck, ${host.suppressed_users} under suppression`;
    mode.className = "bad";
  } else if (host.mode === "suppression") {
    mode.textContent = `${host.suppressed_users} under suppression`;
    mode.className = "warning";
  } else {
    mode.textContent = "normal: nobody is under suppression";
    mode.className = "good";
  }
}

function showHost(host) {
  const devices = { confined: "kept from hidden memory by an IOMMU", free: "not kept from hidden memory" };
  const isolation = {
    hypervisor: "a hypervisor below Linux",
    process: "a process of its own, no hypervisor",
    none: "none",
  };
  const faults = Object.values(host.faults).reduce((sum, count) => sum + count, 0);
  const restores = Object.values(host.restores).reduce((sum, count) => sum + count, 0);
  const lines = [
    ["Isolation", isolation[host.isolation] ?? host.isolation],
    ["Devices", devices[host.devices] ?? "as Linux has them", host.devices === "free" ? "warning" : ""],
    ["Up for", duration(host.uptime_seconds)],
    ["Users", `${host.active_users} active, ${host.users_finished} finished, ${host.users_collected} collected`],
    ["Faults", `${faults}, ${restores} granules restored, ${host.suppressed_stores} stores dropped`],
    ["Recovery storage", `${size(host.storage_used_bytes)} of ${size(host.storage_bytes)}`],
    ["Refused", `${host.hidden_accesses_refused} accesses to hidden memory, ${host.denied_calls} calls`],
  ];
  fill("host", ...lines.flatMap(([name, text, className]) => [element("dt", name), element("dd", text, className)]));
}

function showUsers(users) {
  if (users.length === 0) {
    fill("users", element("p", "Nobody.", "good"));
    return;
  }
  const columns = [["user"], ["state"], ["fault"], ["for", true], ["records", true]];
  fill("users", table(columns, users.map((user) => [
    [`${user.server}/${user.slot}`],
    [user.state, user.state === "stuck" ? "bad" : "warning"],
    [user.kind],
    [duration(user.suppressed_seconds)],
    [String(user.records)],
  ])));
}

// Bars of a step each, the newest at the right edge.
function plot(title, values, history) {
  const width = 360, height = 110, bottom = 92, left = 34;
  const highest = Math.max(1, ...values);
  const figure = element("figure");
  figure.append(element("figcaption", title));
  const svg = drawing("svg", { viewBox: `0 0 ${width} ${height}`, role: "img",
    "aria-label": `${title}: highest ${highest}, now ${values.at(-1) ?? 0}` });
  for (const [value, y] of [[highest, 10], [0, bottom]]) {
    svg.append(drawing("line", { class: "grid", x1: left, x2: width, y1: y, y2: y }));
    svg.append(drawing("text", { x: left - 4, y: y + 4, "text-anchor": "end" }, String(value)));
  }
  const step = (width - left) / history.steps;
  values.forEach((value, place) => {
    if (value === 0) return;
    const tall = Math.max(1, (value / highest) * (bottom - 10));
    svg.append(drawing("rect", { class: "bar", width: Math.max(step, 1.2), height: tall, y: bottom - tall,
      x: width - (values.length - place) * step }));
  });
  svg.append(drawing("text", { x: left, y: height - 3 }, "an hour ago"));
  svg.append(drawing("text", { x: width, y: height - 3, "text-anchor": "end" }, "now"));
  figure.append(svg);
  return figure;
}

function showHistory(history) {
  const step = `in ${history.step_seconds} s`;
  fill("plots", plot(`Faults ${step}`, history.faults, history),
    plot(`Granules restored ${step}`, history.restores, history),
    plot("Users under suppression", history.suppressed_users, history));
}

function showServers(servers) {
  if (servers.length === 0) {
    fill("servers", element("p", "None is defined: add it under \"servers\" in vmsrs.yaml.", "note"));
    return;
  }
  const columns = [["server"], ["state"], ["active", true], ["suppressed", true], ["stuck", true], ["regions", true],
    ["protected", true], ["kept", true], ["contended granules", true], ["restored", true], ["unprotected stores", true]];
  fill("servers", table(columns, servers.map((server) => [
    [server.name],
    [server.attached ? "attached" : "not attached", server.attached ? "good" : ""],
    [String(server.active_users)],
    [String(server.suppressed_users), server.suppressed_users > 0 ? "warning" : ""],
    [String(server.stuck_users), server.stuck_users > 0 ? "bad" : ""],
    [String(server.regions)],
    [size(server.region_bytes)],
    [size(server.kept_region_bytes)],
    [String(server.contended_granules)],
    [String(server.restores)],
    [String(server.unprotected_stores), server.unprotected_stores > 0 ? "bad" : ""],
  ])));
}

// A mark for each part of the region, in rows; what it shows its height tells as well as its colour.
function regionMap(map) {
  const columns = 32, across = 11, tall = 18, rows = Math.ceil(map.owned.length / columns);
  const sum = (counts) => counts.reduce((all, count) => all + count, 0);
  const name = `${map.server}, region ${map.region}${map.name === "" ? "" : ` (${map.name})`}`;
  const [owned, contended, restored] = [map.owned, map.contended, map.restored].map(sum);
  const counts = map.age_seconds === null ? `${restored} restorations, nobody has looked yet` :
    `${owned} granules owned, ${contended} contended, ${restored} restorations, as of ${duration(map.age_seconds)} ago`;
  const figure = element("figure");
  figure.append(element("figcaption", name));
  figure.append(element("p", `${map.state}, ${size(map.bytes)}, ${size(map.bucket_bytes)} a mark: ${counts}` +
    (map.hidden_only ? "; from hidden memory alone" : ""), "note"));
  const svg = drawing("svg", { viewBox: `0 0 ${columns * across} ${rows * (tall + 4)}`, role: "img",
    "aria-label": `${name}: ${counts}` });
  map.owned.forEach((_, place) => {
    const x = (place % columns) * across, bottom = Math.floor(place / columns) * (tall + 4) + tall;
    const [what, height] = map.contended[place] > 0 ? ["contended", tall] : map.owned[place] > 0 ? ["owned", 11] :
      map.restored[place] > 0 ? ["restored", 5] : ["cell", 1];
    const mark = drawing("rect", { class: what, x, y: bottom - height, width: across - 2, height });
    mark.append(drawing("title", {}, `from ${size(place * map.bucket_bytes)}: ${map.owned[place]} owned, ` +
      `${map.contended[place]} contended, ${map.restored[place]} restorations`));
    svg.append(mark);
  });
  figure.append(svg);
  return figure;
}

function showMaps(maps) {
  if (maps.length === 0) fill("maps", element("p", "No server has a region.", "note"));
  else fill("maps", ...maps.map(regionMap));
}

function showChecks(last, checks, now) {
  if (last === null) {
    fill("checks", element("p", "None since vmsrsd was started: vmsrsctl check", "note"));
    return;
  }
  const classes = { ok: "good", violated: "bad" };
  fill("checks", element("p", `${duration(Math.max(0, now - last.time))} ago`, "note"),
    table([["invariant"], ["verdict"], ["examined", true], ["violations", true], ["remark"]],
      checks.map((check) => [
        [check.name],
        [check.verdict, classes[check.verdict] ?? "warning"],
        [String(check.examined)],
        [String(check.violations), check.violations > 0 ? "bad" : ""],
        [check.reason ?? ""],
      ])));
}

function show(page) {
  if (page.problem !== null) throw new Error(`vmsrsd cannot ask the engine: ${page.problem}`);
  showMode(page.host);
  showHost(page.host);
  showUsers(page.users);
  showHistory(page.history);
  showServers(page.servers);
  showMaps(page.maps);
  showChecks(page.last_check, page.checks, page.time);
  at("time").textContent = `as of ${new Date(page.time * 1000).toLocaleTimeString()}`;
}

async function refresh() {
  const problem = at("problem");
  try {
    const answer = await fetch("page.json", { signal: AbortSignal.timeout(5 * PERIOD_MS) });
    if (!answer.ok) throw new Error(`vmsrsd answers with status ${answer.status}`);
    show(await answer.json());
    problem.hidden = true;
  } catch (error) {
    // What is shown is old now, and says so.
    problem.textContent = `No news: ${error.message}. On the host: systemctl status vmsrsd`;
    problem.hidden = false;
    at("mode").textContent = "unknown";
    at("mode").className = "bad";
  }
  setTimeout(refresh, PERIOD_MS);
}

refresh();
