// SPDX-License-Identifier: Apache-2.0
// The hypervisor itself: how often it takes over from Linux, what that costs, and what it has refused.
import type { Dashboard } from "@grafana/grafana-foundation-sdk/dashboard";
import { annotation, bad, bars, board, lines, odd, ofHosts, row, stat, timeline, uids } from "./parts.js";

const exits = (by: string): string =>
  `sum by (${by}) (rate(${ofHosts("vmsrs_hypervisor_exits_total")}[$__rate_interval]))`;
const cycles = (by: string): string =>
  `sum by (${by}) (rate(${ofHosts("vmsrs_hypervisor_cycles_total")}[$__rate_interval]))`;
const hertz = `max by (instance) (${ofHosts("vmsrs_tsc_hertz")})`;

export const hypervisor = (): Dashboard =>
  board(uids.hypervisor, "VMSRS / Hypervisor",
        "What the hypervisor does below Linux: exits, their time, refused accesses, ends of the operating system.",
        { servers: false })
    .annotation(annotation("Operating system ended", `increase(${ofHosts("vmsrs_guest_ends_total")}[1m]) > 0`,
                           "{{instance}}: {{kind}}", bad))
    .annotation(annotation("Access to hidden memory", `increase(${ofHosts("vmsrs_hidden_accesses_refused_total")}[1m]) > 0`,
                           "refused on {{instance}}", odd))
    .withPanel(stat({
      title: "Overhead", unit: "percentunit", width: 4, steps: [[0.05, odd], [0.1, bad]], nothing: "no hypervisor", decimals: 2,
      description: "The share of all processors' time between an exit from Linux and the next entry, in the last five minutes; of several hosts the worst.",
    }, { expr: `max(${ofHosts("instance:vmsrs_hypervisor_overhead:ratio_rate5m")})` }))
    .withPanel(stat({
      title: "Exits", unit: "ops", width: 4, nothing: "no hypervisor",
      description: "How often a second it takes over from Linux.",
    }, { expr: `sum(rate(${ofHosts("vmsrs_hypervisor_exits_total")}[$__rate_interval]))` }))
    .withPanel(stat({
      title: "Contradicted itself", unit: "none", width: 4,
      description: "Whether the hypervisor has contradicted itself. Linux then goes on, and nothing is protected until the next boot.",
      words: { 0: { text: "no", color: "green" }, 1: { text: "yes", color: bad } },
    }, { expr: `max(${ofHosts("vmsrs_engine_abandoned")})` }))
    .withPanel(stat({
      title: "Refused accesses in this time", unit: "short", width: 4, steps: [[1, bad]],
      description: "Accesses of Linux or its devices to hidden memory, and writes to read-only windows, within the dashboard's time. Each was refused; there should be none.",
    }, {
      expr: `sum(increase(${ofHosts("vmsrs_hidden_accesses_refused_total")}[$__range])) + sum(increase(${ofHosts("vmsrs_window_writes_refused_total")}[$__range]))`,
    }))
    .withPanel(stat({
      title: "Hidden memory", unit: "bytes", width: 4,
      description: "Memory that Linux cannot reach, all of it.",
    }, { expr: `sum(${ofHosts("vmsrs_hidden_memory_bytes")})` }))
    .withPanel(stat({
      title: "Up for", unit: "s", width: 4,
      description: "Time since the hypervisor was started; of several hosts the shortest. Linux may have been started anew meanwhile.",
    }, { expr: `time() - max(${ofHosts("vmsrs_hypervisor_start_timestamp_seconds")})` }))
    .withRow(row("Exits"))
    .withPanel(lines({
      title: "Exits by reason", unit: "ops", width: 12,
      description: "How often a second the hypervisor takes over from Linux, by why.",
    }, [{ expr: exits("reason"), legend: "{{reason}}" }], true))
    .withPanel(lines({
      title: "Time by reason", unit: "percentunit", width: 12,
      description: "The share of one processor's time that exits of each reason take: 200 % is two processors, wholly.",
    }, [{ expr: `sum by (reason) (${cycles("instance, reason")} / on (instance) group_left () ${hertz})`, legend: "{{reason}}" }], true))
    .withPanel(lines({
      title: "Cycles of an exit", unit: "none", width: 12,
      description: "Cycles of the processor from an exit to the next entry, on the average, by reason.",
    }, [{ expr: `${cycles("reason")} / (${exits("reason")} > 0)`, legend: "{{reason}}" }]))
    .withPanel(lines({
      title: "Overhead by processor", unit: "percentunit", width: 12, steps: [[0.1, bad]],
      description: "The share of each processor's time that its exits take.",
    }, [{ expr: `${cycles("instance, cpu")} / on (instance) group_left () ${hertz}`, legend: "{{instance}}, processor {{cpu}}" }]))
    .withRow(row("Holds of all processors"))
    .withPanel(lines({
      title: "Holds", unit: "cpm", width: 12,
      description: "Times a minute that a crash held all other processors while eager regions were restored.",
    }, [{ expr: `60 * sum by (instance) (rate(${ofHosts("vmsrs_holds_total")}[$__rate_interval]))`, legend: "{{instance}}" }]))
    .withPanel(lines({
      title: "Time held", unit: "percentunit", width: 12,
      description: "The share of time for which they were held.",
    }, [{
      expr: `sum by (instance) (rate(${ofHosts("vmsrs_hold_cycles_total")}[$__rate_interval])) / on (instance) ${hertz}`,
      legend: "{{instance}}",
    }]))
    .withRow(row("What it refused"))
    .withPanel(bars({
      title: "Accesses", unit: "cpm", width: 12,
      description: "A minute: accesses to hidden memory and writes to read-only windows. A bug in a driver, or an attack.",
    }, [
      { expr: `60 * sum by (instance) (rate(${ofHosts("vmsrs_hidden_accesses_refused_total")}[$__rate_interval]))`, legend: "hidden memory, {{instance}}" },
      { expr: `60 * sum by (instance) (rate(${ofHosts("vmsrs_window_writes_refused_total")}[$__rate_interval]))`, legend: "window, {{instance}}" },
    ]))
    .withPanel(bars({
      title: "Calls", unit: "cpm", width: 12,
      description: "A minute: calls of the hypervisor that were refused for want of secret or capability (denied), and for their arguments (bad arguments).",
    }, [
      { expr: `60 * sum by (instance) (rate(${ofHosts("vmsrs_denied_calls_total")}[$__rate_interval]))`, legend: "denied, {{instance}}" },
      { expr: `60 * sum by (instance) (rate(${ofHosts("vmsrs_refused_calls_total")}[$__rate_interval]))`, legend: "bad arguments, {{instance}}" },
    ]))
    .withPanel(bars({
      title: "Log lines", unit: "cpm", width: 12,
      description: "Lines a minute in the hypervisor's own log, by level: vmsrsctl hypervisor log shows them. Unseen ones were overwritten before vmsrsd looked.",
    }, [{ expr: `60 * sum by (instance, level) (rate(${ofHosts("vmsrs_hypervisor_log_lines_total")}[$__rate_interval]))`, legend: "{{level}}, {{instance}}" }]))
    .withRow(row("The operating system above it"))
    .withPanel(lines({
      title: "Ends by kind", unit: "short", width: 12,
      description: "How often Linux ended without an announcement within the dashboard's time up to each moment, by how.",
    }, [{ expr: `sum by (instance, kind) (increase(${ofHosts("vmsrs_guest_ends_total")}[$__range]))`, legend: "{{kind}}, {{instance}}" }]))
    .withPanel(timeline({
      title: "What it watches for", unit: "none", width: 12,
      description: "Which ends of Linux the hypervisor recognises on this machine: shutdown and reset (ends), panic, hang.",
      words: { 0: { text: "not watched", color: odd }, 1: { text: "watched", color: "green" } },
      steps: [[0, odd], [1, "green"]],
    }, [{ expr: `min by (instance, end) (${ofHosts("vmsrs_guest_watched")})`, legend: "{{end}} on {{instance}}" }]))
    .build();
