// SPDX-License-Identifier: Apache-2.0
// One host, or a few: its state, its servers, its storage, its events.
import type { Dashboard } from "@grafana/grafana-foundation-sdk/dashboard";
import { annotation, bad, bars, board, field, lines, odd, ofHosts, row, stat, table, timeline, uids } from "./parts.js";

const yes = { text: "yes", color: "green" };

export const host = (): Dashboard =>
  board(uids.host, "VMSRS / Host", "What the daemon of a host tells: protection, servers, storage, events, checks.",
        { servers: false })
    .annotation(annotation("Operating system ended", `increase(${ofHosts("vmsrs_guest_ends_total")}[1m]) > 0`,
                           "{{instance}}: {{kind}}", bad))
    .withPanel(stat({
      title: "Protected", unit: "none", width: 4,
      description: "Whether the hypervisor (or vmsrs-hosted) answers and protects; of several hosts the worst.",
      words: { 0: { text: "no", color: bad }, 1: yes },
    }, { expr: `min(${ofHosts("vmsrs_up")})` }))
    .withPanel(stat({
      title: "Below the hypervisor", unit: "none", width: 4,
      description: "Whether recovery data is out of Linux's reach (isolation: hypervisor). A process of Linux (vmsrs-hosted) contains crashes too, but root can change what recovery rests on.",
      words: { 0: { text: "no", color: odd }, 1: yes },
    }, { expr: `min(max by (instance) (${ofHosts("vmsrs_build_info", 'isolation="hypervisor"')}) or 0 * max by (instance) (${ofHosts("vmsrs_build_info")}))` }))
    .withPanel(stat({
      title: "Devices kept away", unit: "none", width: 4, nothing: "not told",
      description: "Whether an IOMMU keeps devices from hidden memory.",
      words: { 0: { text: "no", color: bad }, 1: yes },
    }, { expr: `min(${ofHosts("vmsrs_devices_confined")})` }))
    .withPanel(stat({
      title: "Engine up for", unit: "s", width: 4,
      description: "Time since the hypervisor was started; of several hosts the shortest.",
    }, { expr: `time() - max(${ofHosts("vmsrs_hypervisor_start_timestamp_seconds")})` }))
    .withPanel(stat({
      title: "Ends of Linux in this time", unit: "short", width: 4, steps: [[1, bad]],
      description: "How often the operating system ended without an announcement within the dashboard's time, and was started again.",
    }, { expr: `sum(increase(${ofHosts("vmsrs_guest_ends_total")}[$__range]))` }))
    .withPanel(stat({
      title: "Last check", unit: "s", width: 4, steps: [[172800, odd]], nothing: "never",
      description: "Time since the invariants of recovery were last checked (vmsrsctl check); of several hosts the longest.",
    }, { expr: `max(time() - ${ofHosts("vmsrs_last_check_timestamp_seconds")})` }))
    .withRow(row("Servers"))
    .withPanel(table({
      title: "Servers", unit: "none", width: 24, height: 7,
      description: "A line for each server that is defined; its name leads to its own dashboard.",
    }, ["job", "instance", "server"], [
      {
        name: "Attached", unit: "none", expr: `max by (job, instance, server) (${ofHosts("vmsrs_server_attached")})`,
        words: { 0: { text: "no", color: "text" }, 1: yes },
      },
      { name: "Active users", unit: "none", expr: `max by (job, instance, server) (${ofHosts("vmsrs_server_active_users")})` },
      {
        name: "Suppressed users", unit: "none", steps: [[1, odd]],
        expr: `max by (job, instance, server) (${ofHosts("vmsrs_suppressed_users")})`,
      },
      {
        name: "Stuck users", unit: "none", steps: [[1, bad]],
        expr: `max by (job, instance, server) (${ofHosts("vmsrs_stuck_users")})`,
      },
      {
        name: "Faults in this time", unit: "short", steps: [[1, odd]],
        expr: `sum by (job, instance, server) (increase(${ofHosts("vmsrs_user_faults_total")}[$__range]))`,
      },
      { name: "Regions", unit: "bytes", expr: `max by (job, instance, server) (${ofHosts("vmsrs_server_region_bytes")})` },
      { name: "Recovery storage", unit: "bytes", expr: `max by (job, instance, server) (${ofHosts("vmsrs_server_storage_used_bytes")})` },
    ], {
      uid: uids.server, title: "This server",
      variables: {
        datasource: "${datasource}", job: field("job"), instance: field("instance"), server: field("server"),
      },
    }))
    .withPanel(lines({
      title: "Users under suppression", unit: "none", width: 12,
      description: "Crashed users of each server that have not been collected.",
    }, [{ expr: `max by (instance, server) (${ofHosts("vmsrs_suppressed_users")})`, legend: "{{server}} on {{instance}}" }]))
    .withPanel(bars({
      title: "Faults", unit: "cpm", width: 12,
      description: "Faults of users a minute, by kind.",
    }, [{ expr: `60 * sum by (kind) (rate(${ofHosts("vmsrs_user_faults_total")}[$__rate_interval])) > 0`, legend: "{{kind}}" }]))
    .withRow(row("Storage"))
    .withPanel(lines({
      title: "Recovery storage", unit: "bytes", width: 12,
      description: "Recovery storage in use, and how much there is. Beyond it stores are refused, or go on without protection.",
    }, [
      { expr: `sum by (instance) (${ofHosts("vmsrs_recovery_region_used_bytes")})`, legend: "in use on {{instance}}" },
      { expr: `sum by (instance) (${ofHosts("vmsrs_recovery_region_bytes")})`, legend: "size on {{instance}}" },
      { expr: `sum by (instance) (${ofHosts("vmsrs_hidden_memory_bytes")})`, legend: "all hidden memory of {{instance}}" },
    ]))
    .withPanel(lines({
      title: "Who uses it", unit: "bytes", width: 12,
      description: "Recovery storage by the server that it is used for.",
    }, [{ expr: `sum by (instance, server) (${ofHosts("vmsrs_server_storage_used_bytes")})`, legend: "{{server}} on {{instance}}" }], true))
    .withPanel(lines({
      title: "Regions kept for the next process", unit: "bytes", width: 12,
      description: "Named regions of processes that have died; the next process of the server finds them.",
    }, [{ expr: `sum by (instance, server) (${ofHosts("vmsrs_server_kept_region_bytes")})`, legend: "{{server}} on {{instance}}" }]))
    .withPanel(bars({
      title: "Out of storage", unit: "cpm", width: 12,
      description: "A minute: calls that were refused for want of storage or quota, and stores that went on without recovery data (storage_full: unprotected). Both should be none.",
    }, [
      { expr: `60 * sum by (server) (rate(${ofHosts("vmsrs_storage_exhausted_total")}[$__rate_interval]))`, legend: "refused, {{server}}" },
      { expr: `60 * sum by (server) (rate(${ofHosts("vmsrs_unprotected_stores_total")}[$__rate_interval]))`, legend: "unprotected, {{server}}" },
    ]))
    .withRow(row("Checks, events and the daemon itself"))
    .withPanel(timeline({
      title: "Invariants", unit: "none", width: 12,
      description: "What the last check said of each invariant: it holds, or it is violated, could not be looked at, or a server has run unprotected.",
      words: { 0: { text: "not proved", color: bad }, 1: { text: "holds", color: "green" } },
      steps: [[0, bad], [1, "green"]],
    }, [{ expr: `min by (instance, invariant) (${ofHosts("vmsrs_last_check_ok")})`, legend: "{{invariant}} on {{instance}}" }]))
    .withPanel(bars({
      title: "Events", unit: "cpm", width: 12,
      description: "Events a minute that were stored, by type. vmsrsctl events list shows them.",
    }, [{ expr: `60 * sum by (type) (rate(${ofHosts("vmsrs_events_total")}[$__rate_interval])) > 0`, legend: "{{type}}" }]))
    .withPanel(lines({
      title: "Event store", unit: "bytes", width: 8,
      description: "Size of the store's files.",
    }, [{ expr: `sum by (instance) (${ofHosts("vmsrs_events_store_bytes")})`, legend: "{{instance}}" }]))
    .withPanel(lines({
      title: "Events that went wrong", unit: "none", width: 8, steps: [[1, bad]],
      description: "Within the dashboard's time: events that were lost, and events that came again (which must not happen).",
    }, [
      { expr: `sum by (instance) (increase(${ofHosts("vmsrs_events_lost_total")}[$__range]))`, legend: "lost, {{instance}}" },
      { expr: `sum by (instance) (increase(${ofHosts("vmsrs_events_repeated_total")}[$__range]))`, legend: "repeated, {{instance}}" },
    ]))
    .withPanel(lines({
      title: "Time to store events", unit: "s", width: 8,
      description: "How long taking over what there was took, in nine of ten cases.",
    }, [{
      expr: `histogram_quantile(0.9, sum by (instance, le) (rate(${ofHosts("vmsrs_events_drain_duration_seconds_bucket")}[$__rate_interval])))`,
      legend: "{{instance}}",
    }]))
    .withPanel(timeline({
      title: "Collectors", unit: "none", width: 12,
      description: "Whether each part of the metrics could be had, from all hosts. What fails is missing in all panels and alerts.",
      words: { 0: { text: "failed", color: bad }, 1: { text: "complete", color: "green" } },
      steps: [[0, bad], [1, "green"]],
    }, [{ expr: `min by (collector) (${ofHosts("vmsrs_collector_success")})`, legend: "{{collector}}" }]))
    .withPanel(lines({
      title: "Duration of a scrape", unit: "s", width: 6,
      description: "What the collectors took together.",
    }, [{ expr: `sum by (instance) (${ofHosts("vmsrs_collector_duration_seconds")})`, legend: "{{instance}}" }]))
    .withPanel(stat({
      title: "Next certificate ends in", unit: "s", width: 6, height: 8, nothing: "no TLS",
      steps: [[0, bad], [172800, odd], [1209600, "green"]],
      description: "Time until the first certificate of the chosen hosts ends: the daemon's own, or the one that vouches for clients. Alerts fire 14 days and 2 days before.",
    }, { expr: `min(${ofHosts("vmsrs_certificate_expiry_timestamp_seconds")}) - time()` }))
    .build();
