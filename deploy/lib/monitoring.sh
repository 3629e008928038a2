# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC2154  # variables are shared with quickstart.sh
# Prometheus and Alertmanager on loopback that watch quickstart's machine with this project's rules.

monitoring_pids=()

# Sets prometheus_port, alertmanager_port and monitoring_pids.
start_monitoring() {
  local work=$top/build/monitoring prometheus alertmanager
  say "starting Debian's Prometheus and Alertmanager with the rules of dashboards/rules"
  prometheus=$(unpacked_program "$work" prometheus prometheus) || fail "there is no Prometheus"
  alertmanager=$(unpacked_program "$work" prometheus-alertmanager prometheus-alertmanager) ||
    fail "there is no Alertmanager"
  read -r prometheus_port alertmanager_port < <(free_ports 2)
  mkdir -p "$run/monitoring"
  cat >"$run/monitoring/prometheus.yml" <<YAML
global: {scrape_interval: 1s, evaluation_interval: 1s}
rule_files: [$top/dashboards/rules/*.yaml]
alerting:
  alertmanagers:
    - static_configs: [{targets: ["127.0.0.1:$alertmanager_port"]}]
scrape_configs:
  - job_name: vmsrs
    static_configs: [{targets: ["127.0.0.1:$metrics_port"], labels: {instance: quickstart}}]
YAML
  cat >"$run/monitoring/alertmanager.yml" <<YAML
route: {receiver: nobody, group_by: [alertname], group_wait: 0s, group_interval: 1s}
receivers: [{name: nobody}]
YAML
  monitor prometheus "$prometheus" --config.file="$run/monitoring/prometheus.yml" \
    --storage.tsdb.path="$run/monitoring/data" --web.listen-address="127.0.0.1:$prometheus_port"
  # It looks for its templates where the package would be installed.
  # shellcheck disable=SC2016  # the inner shell's variables
  monitor alertmanager unshare --mount sh -c \
    'mount -t overlay -o "lowerdir=$1:/usr/share" overlay /usr/share && shift && exec "$@"' sh \
    "${alertmanager%/bin/*}/share" "$alertmanager" --config.file="$run/monitoring/alertmanager.yml" \
    --storage.path="$run/monitoring/alerts" --cluster.listen-address= \
    --web.listen-address="127.0.0.1:$alertmanager_port"
}

monitor() { # name command...
  local name=$1
  shift
  setsid "$@" >"$run/monitoring/$name.log" 2>&1 </dev/null 9>&- &
  monitoring_pids+=($!)
}

# A user of the shop crashes and lingers: an alert fires, and resolves when the user has ended.
show_alert() {
  python3 "$top/deploy/lib/show_alert.py" --shop "127.0.0.1:$shop_port" --user "$lingering_user" \
    --alertmanager "http://127.0.0.1:$alertmanager_port" --alert VmsrsSuppressionTooLong
}
