// SPDX-License-Identifier: Apache-2.0
// All hosts on one page: who is not protected, who crashes, and where to look next.
import type { Dashboard } from "@grafana/grafana-foundation-sdk/dashboard";
import { annotation, bad, bars, board, field, lines, odd, ofHosts, row, stat, table, uids } from "./parts.js";

const share: [number, string][] = [[0.7, odd], [0.9, bad]];
const age: [number, string][] = [[5, odd], [8, bad]];
const firing = ofHosts("ALERTS", 'alertname=~"Vmsrs.+"', 'alertstate="firing"');

export const fleet = (): Dashboard =>
  board(uids.fleet, "VMSRS / Fleet", "All hosts under VMSRS: which are protected, whose users crash, what it costs.",
        { servers: false })
    .annotation(annotation("Operating system ended", `increase(${ofHosts("vmsrs_guest_ends_total")}[1m]) > 0`,
                           "{{instance}}: {{kind}}", bad))
    .annotation(annotation("User stuck", `increase(${ofHosts("vmsrs_events_total", 'type="stuck"')}[1m]) > 0`,
                           "{{instance}}", odd))
    .withPanel(stat({
      title: "Protected hosts", unit: "none", width: 4,
      description: "Hosts whose hypervisor answers and protects.",
    }, { expr: `sum(${ofHosts("vmsrs_up")})` }))
    .withPanel(stat({
      title: "Hosts without protection", unit: "none", width: 4, steps: [[1, bad]],
      description: "Hosts that are scraped, but whose daemon does not answer or whose hypervisor does not protect.",
    }, { expr: `count(${ofHosts("up")}) - sum(${ofHosts("vmsrs_up")})` }))
    .withPanel(stat({
      title: "Suppressed users", unit: "none", width: 4, steps: [[1, odd]],
      description: "Crashed users that have not reached the end of their scope yet, stuck ones included.",
    }, { expr: `sum(${ofHosts("vmsrs_suppressed_users")})` }))
    .withPanel(stat({
      title: "Worst suppression", unit: "s", width: 4, steps: age, nothing: "nobody", decimals: 1,
      description: "How long the user has been under suppression who has been so for longest. The library ends it by force after 10 s, unless the server asks for another bound.",
    }, { expr: `max(${ofHosts("instance_server:vmsrs_suppression_age_seconds")})` }))
    .withPanel(stat({
      title: "Stuck users", unit: "none", width: 4, steps: [[1, bad]],
      description: "Crashed users that could not be brought to their end point. They may hold locks of their server.",
    }, { expr: `sum(${ofHosts("vmsrs_stuck_users")})` }))
    .withPanel(stat({
      title: "Alerts", unit: "none", width: 4, steps: [[1, bad]], nothing: "0",
      description: "Alerts of VMSRS that fire now.",
    }, { expr: `count(${firing})` }))
    .withRow(row("Hosts"))
    .withPanel(table({
      title: "Hosts", unit: "none", width: 24, height: 8,
      description: "A line for each host; its name leads to its own dashboard.",
    }, ["job", "instance"], [
      {
        name: "Protected", unit: "none", expr: `max by (job, instance) (${ofHosts("vmsrs_up")})`,
        words: { 0: { text: "no", color: bad }, 1: { text: "yes", color: "green" } },
      },
      { name: "Servers attached", unit: "none", expr: `sum by (job, instance) (${ofHosts("vmsrs_server_attached")})` },
      {
        name: "Suppressed users", unit: "none", steps: [[1, odd]],
        expr: `sum by (job, instance) (${ofHosts("vmsrs_suppressed_users")})`,
      },
      {
        name: "Stuck users", unit: "none", steps: [[1, bad]],
        expr: `sum by (job, instance) (${ofHosts("vmsrs_stuck_users")})`,
      },
      {
        name: "Worst suppression", unit: "s", steps: age,
        expr: `max by (job, instance) (${ofHosts("instance_server:vmsrs_suppression_age_seconds")})`,
      },
      {
        name: "Faults in this time", unit: "short", steps: [[1, odd]],
        expr: `sum by (job, instance) (increase(${ofHosts("vmsrs_user_faults_total")}[$__range]))`,
      },
      {
        name: "Recovery storage", unit: "percentunit", steps: share,
        expr: `max by (job, instance) (${ofHosts("instance:vmsrs_recovery_region_used:ratio")})`,
      },
      {
        name: "Overhead", unit: "percentunit", steps: [[0.05, odd], [0.1, bad]],
        expr: `max by (job, instance) (${ofHosts("instance:vmsrs_hypervisor_overhead:ratio_rate5m")})`,
      },
    ], {
      uid: uids.host, title: "This host",
      variables: { datasource: "${datasource}", job: field("job"), instance: field("instance") },
    }))
    .withRow(row("Crashes"))
    .withPanel(bars({
      title: "Faults by kind", unit: "cpm", width: 12,
      description: "Faults of users a minute, on all chosen hosts, by what went wrong.",
    }, [{ expr: `60 * sum by (kind) (rate(${ofHosts("vmsrs_user_faults_total")}[$__rate_interval])) > 0`, legend: "{{kind}}" }]))
    .withPanel(bars({
      title: "Faults by server", unit: "cpm", width: 12,
      description: "The same by the server whose users they were, on whichever host.",
    }, [{ expr: `60 * sum by (server) (rate(${ofHosts("vmsrs_user_faults_total")}[$__rate_interval])) > 0`, legend: "{{server}}" }]))
    .withPanel(lines({
      title: "Time in suppression mode", unit: "percentunit", width: 12, max: 1, steps: [[0.2, odd], [0.5, bad]],
      description: "The share of the last five minutes that each server has spent with at least one crashed user. Alerts fire above 20 % and 50 %.",
    }, [{
      expr: `max by (instance, server) (${ofHosts("instance_server:vmsrs_suppression_mode:ratio_rate5m")})`,
      legend: "{{server}} on {{instance}}",
    }]))
    .withPanel(lines({
      title: "Age of suppressions", unit: "s", width: 12, steps: age,
      description: "How long the longest suppressed user of each server had been so. No line: nobody is. Alerts fire above 5 s and 8 s.",
    }, [{
      expr: `max by (instance, server) (${ofHosts("instance_server:vmsrs_suppression_age_seconds")})`,
      legend: "{{server}} on {{instance}}",
    }]))
    .withRow(row("Recovery and its price"))
    .withPanel(bars({
      title: "Restored granules", unit: "cpm", width: 8,
      description: "Granules a minute that were brought back to their committed value: because somebody accessed them (demand), at the crash (crash: eager regions), when the crashed user ended (collection), or because they had been changed behind the library's back (sweep).",
    }, [{ expr: `60 * sum by (cause) (rate(${ofHosts("vmsrs_restores_total")}[$__rate_interval]))`, legend: "{{cause}}" }]))
    .withPanel(lines({
      title: "Recovery storage in use", unit: "percentunit", width: 8, max: 1, steps: share,
      description: "The share of each host's recovery storage that is in use. When it is full stores are refused, or go on without protection.",
    }, [{ expr: `max by (instance) (${ofHosts("instance:vmsrs_recovery_region_used:ratio")})`, legend: "{{instance}}" }]))
    .withPanel(lines({
      title: "Overhead of the hypervisor", unit: "percentunit", width: 8, steps: [[0.1, bad]],
      description: "The share of all processors' time between an exit from Linux and the next entry. Hosts without the hypervisor have none.",
    }, [{ expr: `max by (instance) (${ofHosts("instance:vmsrs_hypervisor_overhead:ratio_rate5m")})`, legend: "{{instance}}" }]))
    .withPanel(bars({
      title: "Alerts over time", unit: "none", width: 24,
      description: "How many alerts of VMSRS fired, by name.",
    }, [{ expr: `count by (alertname, severity) (${firing})`, legend: "{{alertname}} ({{severity}})" }]))
    .build();
