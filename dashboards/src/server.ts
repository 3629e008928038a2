// SPDX-License-Identifier: Apache-2.0
// One server: what its users do, what happened when some crashed, and what that cost the others.
import type { Dashboard } from "@grafana/grafana-foundation-sdk/dashboard";
import { annotation, bad, bars, board, heatmap, lines, odd, ofHosts, ofServers, row, stat, timeline, uids } from "./parts.js";

const duration = "vmsrs_suppression_duration_seconds_bucket";

export const server = (): Dashboard =>
  board(uids.server, "VMSRS / Server", "A protected server: users, faults, suppression, restoration, exposure.",
        { servers: true })
    .annotation(annotation("Crash", `sum by (instance, server, kind) (increase(${ofServers("vmsrs_user_faults_total")}[1m])) > 0`,
                           "a user of {{server}} on {{instance}} ({{kind}})", odd))
    .annotation(annotation("User stuck", `${ofServers("vmsrs_stuck_users")} > 0`,
                           "{{server}} on {{instance}}", bad))
    .annotation(annotation("Server attached or lost", `changes(${ofServers("vmsrs_server_attached")}[1m]) > 0`,
                           "{{server}} on {{instance}}", "blue"))
    .annotation(annotation("Event of the host", `increase(${ofHosts("vmsrs_events_total", 'type=~"guest_end|reaped|storage_full|unprotected_stores|check_failed|events_lost"')}[1m]) > 0`,
                           "{{type}} on {{instance}}", "purple"))
    .withPanel(stat({
      title: "Active users", unit: "none", width: 4,
      description: "Users that are neither finished nor crashed.",
    }, { expr: `sum(${ofServers("vmsrs_server_active_users")})` }))
    .withPanel(stat({
      title: "Suppressed users", unit: "none", width: 4, steps: [[1, odd]],
      description: "Crashed users that have not been collected, stuck ones included.",
    }, { expr: `sum(${ofServers("vmsrs_suppressed_users")})` }))
    .withPanel(stat({
      title: "Worst suppression", unit: "s", width: 4, steps: [[5, odd], [8, bad]], nothing: "nobody", decimals: 1,
      description: "How long the longest suppressed user has been so.",
    }, { expr: `max(${ofServers("instance_server:vmsrs_suppression_age_seconds")})` }))
    .withPanel(stat({
      title: "Stuck users", unit: "none", width: 4, steps: [[1, bad]],
      description: "Crashed users that could not be brought to their end point. They may hold locks.",
    }, { expr: `sum(${ofServers("vmsrs_stuck_users")})` }))
    .withPanel(stat({
      title: "Crashed users in this time", unit: "short", width: 4, steps: [[1, odd]],
      description: "Users that crashed and were collected within the dashboard's time.",
    }, { expr: `sum(increase(${ofServers("vmsrs_users_collected_total")}[$__range]))` }))
    .withPanel(stat({
      title: "Exposed users in this time", unit: "short", width: 4, steps: [[1, bad]],
      description: "Sampled users that were seen to have read what another had not finished who then crashed. 0 also where nothing is sampled (exposed_sample_every).",
    }, { expr: `sum(increase(${ofServers("vmsrs_exposed_users_total")}[$__range]))` }))
    .withRow(row("What happened"))
    .withPanel(timeline({
      title: "State", unit: "none", width: 24, height: 6,
      description: "Normal; in suppression mode while a crashed user has not been collected; stuck while one cannot be. Marks on the axis are the events of the annotations above.",
      words: {
        0: { text: "normal", color: "green" }, 1: { text: "suppression", color: odd },
        2: { text: "stuck", color: bad },
      },
      steps: [[0, "green"], [1, odd], [2, bad]],
    }, [{
      expr: `(${ofServers("vmsrs_suppressed_users")} > bool 0) + (${ofServers("vmsrs_stuck_users")} > bool 0)`,
      legend: "{{server}} on {{instance}}",
    }]))
    .withPanel(lines({
      title: "Users", unit: "ops", width: 12,
      description: "User scopes a second: begun, finished, and crashed (collected at their end).",
    }, [
      { expr: `sum by (server) (rate(${ofServers("vmsrs_users_begun_total")}[$__rate_interval]))`, legend: "begun, {{server}}" },
      { expr: `sum by (server) (rate(${ofServers("vmsrs_users_finished_total")}[$__rate_interval]))`, legend: "finished, {{server}}" },
      { expr: `sum by (server) (rate(${ofServers("vmsrs_users_collected_total")}[$__rate_interval]))`, legend: "crashed, {{server}}" },
    ]))
    .withPanel(bars({
      title: "Faults by kind", unit: "cpm", width: 12,
      description: "Faults of users a minute. One user can have several.",
    }, [{ expr: `60 * sum by (server, kind) (rate(${ofServers("vmsrs_user_faults_total")}[$__rate_interval])) > 0`, legend: "{{kind}}, {{server}}" }]))
    .withPanel(lines({
      title: "Share of users that crash", unit: "percentunit", width: 12, steps: [[0.006, odd], [0.0144, bad]],
      description: "Crashed users in all users. Alerts fire at 6 and 14.4 times the budget of 0.1 %. No line while no user begins.",
    }, [
      { expr: `max by (instance, server) (${ofServers("instance_server:vmsrs_users_crashed:ratio_rate1h")})`, legend: "last hour, {{server}} on {{instance}}" },
      { expr: `max by (instance, server) (${ofServers("instance_server:vmsrs_users_crashed:ratio_rate6h")})`, legend: "last six hours, {{server}} on {{instance}}" },
    ]))
    .withPanel(lines({
      title: "Users under way", unit: "none", width: 12,
      description: "Users that are unfinished, and users under suppression.",
    }, [
      { expr: `max by (instance, server) (${ofServers("vmsrs_server_active_users")})`, legend: "active, {{server}} on {{instance}}" },
      { expr: `max by (instance, server) (${ofServers("vmsrs_suppressed_users")})`, legend: "suppressed, {{server}} on {{instance}}" },
    ]))
    .withRow(row("Suppression"))
    .withPanel(heatmap({
      title: "How long suppressions lasted", unit: "s", width: 12,
      description: "Users a step by the time from crash to collection, as it was when they ended.",
    }, { expr: `sum by (le) (increase(${ofServers(duration)}[$__rate_interval]))`, legend: "{{le}}" }))
    .withPanel(lines({
      title: "Duration of suppressions", unit: "s", width: 12, height: 9, steps: [[5, odd], [8, bad]],
      description: "Half of the suppressions that ended were shorter than the first line, 99 in 100 shorter than the second. No line where none ended.",
    }, [
      { expr: `histogram_quantile(0.5, sum by (le) (rate(${ofServers(duration)}[$__rate_interval])))`, legend: "half" },
      { expr: `histogram_quantile(0.99, sum by (le) (rate(${ofServers(duration)}[$__rate_interval])))`, legend: "99 %" },
    ]))
    .withPanel(lines({
      title: "Time in suppression mode", unit: "percentunit", width: 12, max: 1, steps: [[0.2, odd], [0.5, bad]],
      description: "The share of time with at least one crashed user, in the last five minutes and in the last hour.",
    }, [
      { expr: `max by (instance, server) (${ofServers("instance_server:vmsrs_suppression_mode:ratio_rate5m")})`, legend: "5 min, {{server}} on {{instance}}" },
      { expr: `max by (instance, server) (${ofServers("instance_server:vmsrs_suppression_mode:ratio_rate1h")})`, legend: "1 h, {{server}} on {{instance}}" },
    ]))
    .withPanel(bars({
      title: "Dropped stores", unit: "cpm", width: 12,
      description: "Stores a minute that crashed users made and that never counted.",
    }, [{ expr: `60 * sum by (server) (rate(${ofServers("vmsrs_suppressed_stores_total")}[$__rate_interval]))`, legend: "{{server}}" }]))
    .withRow(row("Restoration"))
    .withPanel(bars({
      title: "Restored granules by cause", unit: "cpm", width: 12,
      description: "Granules a minute that were brought back to their committed value: because somebody accessed them (demand), at the crash (crash: eager regions), when the crashed user ended (collection), or because they had been changed behind the library's back (sweep).",
    }, [{ expr: `60 * sum by (cause) (rate(${ofServers("vmsrs_restores_total")}[$__rate_interval]))`, legend: "{{cause}}" }]))
    .withPanel(lines({
      title: "How long restoring a granule takes", unit: "s", width: 12,
      description: "Of 100 granules 99 were restored in this time or less, by cause: whose access asks for it waits so long (demand), all others too while an eager region is restored (crash).",
    }, [{
      expr: `histogram_quantile(0.99, sum by (cause, le) (rate(${ofServers("vmsrs_restore_duration_seconds_bucket")}[$__rate_interval])))`,
      legend: "{{cause}}",
    }]))
    .withPanel(lines({
      title: "Time spent on restoring", unit: "percentunit", width: 12,
      description: "Of one processor's time.",
    }, [{
      expr: `sum by (instance, server) (rate(${ofServers("vmsrs_restore_duration_seconds_sum")}[$__rate_interval]))`,
      legend: "{{server}} on {{instance}}",
    }]))
    .withPanel(lines({
      title: "Exposed users", unit: "cpm", width: 12,
      description: "Sampled users a minute that had read what another had not finished who then crashed: what they were shown may be wrong.",
    }, [{ expr: `60 * sum by (server) (rate(${ofServers("vmsrs_exposed_users_total")}[$__rate_interval]))`, legend: "{{server}}" }]))
    .withPanel(lines({
      title: "Traps", unit: "ops", width: 12,
      description: "Monitored stores and loads a second that became calls of the hypervisor. Loads do so in suppression mode only, and a user's repeated stores not at all.",
    }, [
      { expr: `sum by (server) (rate(${ofServers("vmsrs_stores_total")}[$__rate_interval]))`, legend: "stores, {{server}}" },
      { expr: `sum by (server) (rate(${ofServers("vmsrs_loads_total")}[$__rate_interval]))`, legend: "loads, {{server}}" },
    ]))
    .withPanel(lines({
      title: "Library calls", unit: "ops", width: 12,
      description: "Hypercalls a second that the server's library makes, by call; repeated ones count again.",
    }, [{ expr: `sum by (call) (rate(${ofServers("vmsrs_library_calls_total")}[$__rate_interval])) > 0`, legend: "{{call}}" }]))
    .withPanel(lines({
      title: "Frees that wait", unit: "short", width: 12,
      description: "Blocks that users have freed who have not ended: nobody is given them before that. A count that only grows is a user that never ends.",
    }, [{ expr: `sum by (instance, server) (${ofServers("vmsrs_quarantined_frees")})`, legend: "{{server}} on {{instance}}" }]))
    .withRow(row("Memory"))
    .withPanel(lines({
      title: "Regions and recovery storage", unit: "bytes", width: 12,
      description: "Memory that the server has registered, and what its recovery takes of hidden memory.",
    }, [
      { expr: `max by (instance, server) (${ofServers("vmsrs_server_region_bytes")})`, legend: "regions, {{server}} on {{instance}}" },
      { expr: `max by (instance, server) (${ofServers("vmsrs_server_storage_used_bytes")})`, legend: "storage, {{server}} on {{instance}}" },
    ]))
    .withPanel(lines({
      title: "Records", unit: "none", width: 12,
      description: "Records in recovery storage, and granules to which more than one user has stored: these are where users meet.",
    }, [
      { expr: `max by (instance, server) (${ofServers("vmsrs_server_records")})`, legend: "records, {{server}} on {{instance}}" },
      { expr: `max by (instance, server) (${ofServers("vmsrs_server_contended_granules")})`, legend: "contended granules, {{server}} on {{instance}}" },
    ]))
    .build();
