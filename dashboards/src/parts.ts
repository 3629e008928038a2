// SPDX-License-Identifier: Apache-2.0
// What the dashboards have in common: variables, links, and panels that say what they show.
import * as common from "@grafana/grafana-foundation-sdk/common";
import * as dashboard from "@grafana/grafana-foundation-sdk/dashboard";
import * as heatmaps from "@grafana/grafana-foundation-sdk/heatmap";
import * as prometheus from "@grafana/grafana-foundation-sdk/prometheus";
import * as stats from "@grafana/grafana-foundation-sdk/stat";
import * as tables from "@grafana/grafana-foundation-sdk/table";
import * as timelines from "@grafana/grafana-foundation-sdk/statetimeline";
import * as timeseries from "@grafana/grafana-foundation-sdk/timeseries";

export const datasource: common.DataSourceRef = { type: "prometheus", uid: "${datasource}" };

// The uids of the dashboards, by which they link to each other.
export const uids = {
  fleet: "vmsrs-fleet",
  host: "vmsrs-host",
  server: "vmsrs-server",
  hypervisor: "vmsrs-hypervisor",
};

// A selector of the chosen hosts' series, and of the chosen servers'.
export const ofHosts = (metric: string, ...more: string[]): string =>
  `${metric}{${['job=~"$job"', 'instance=~"$instance"', ...more].join(", ")}}`;
export const ofServers = (metric: string, ...more: string[]): string =>
  ofHosts(metric, 'server=~"$server"', ...more);

export interface Query {
  expr: string;
  legend?: string;
}

// What every panel says; `steps` are its thresholds: from each value on its colour.
export interface Description {
  title: string;
  description: string;
  unit: string;
  width: number;
  height?: number;
  steps?: [number, string][];
  min?: number;
  max?: number;
  nothing?: string; // shown when there is no value
  words?: Record<string, { text: string; color: string }>; // in place of values
  decimals?: number;
}

const calm = "green";
export const bad = "red";
export const odd = "orange";
const plain = "text";

function thresholds(steps: [number, string][] | undefined): dashboard.ThresholdsConfigBuilder {
  const all: dashboard.Threshold[] = [{ value: null, color: steps === undefined ? plain : calm }];
  for (const [value, color] of steps ?? []) all.push({ value, color });
  return new dashboard.ThresholdsConfigBuilder()
    .mode(dashboard.ThresholdsMode.Absolute)
    .steps(all);
}

function target(query: Query, index: number): prometheus.DataqueryBuilder {
  return new prometheus.DataqueryBuilder()
    .datasource(datasource)
    .refId(String.fromCharCode("A".charCodeAt(0) + index))
    .expr(query.expr)
    .legendFormat(query.legend ?? "__auto");
}

function mappings(words: Description["words"]): dashboard.ValueMapping[] {
  if (words === undefined) return [];
  return [{ type: dashboard.MappingType.ValueToText, options: words } as dashboard.ValueMap];
}

// The builders of panels are of different types with the same methods.
interface AnyPanel<Self> {
  title(title: string): Self;
  description(description: string): Self;
  datasource(source: common.DataSourceRef): Self;
  unit(unit: string): Self;
  span(width: number): Self;
  height(height: number): Self;
  thresholds(steps: dashboard.ThresholdsConfigBuilder): Self;
  mappings(mappings: dashboard.ValueMapping[]): Self;
  min(value: number): Self;
  max(value: number): Self;
  noValue(text: string): Self;
  decimals(count: number): Self;
}

function described<Panel extends AnyPanel<Panel>>(panel: Panel, what: Description, height: number): Panel {
  panel
    .title(what.title)
    .description(what.description)
    .datasource(datasource)
    .unit(what.unit)
    .span(what.width)
    .height(what.height ?? height)
    .thresholds(thresholds(what.steps))
    .mappings(mappings(what.words));
  if (what.min !== undefined) panel.min(what.min);
  if (what.max !== undefined) panel.max(what.max);
  if (what.nothing !== undefined) panel.noValue(what.nothing);
  if (what.decimals !== undefined) panel.decimals(what.decimals);
  return panel;
}

// One number, as it is now.
export function stat(what: Description, query: Query): stats.PanelBuilder {
  return described(new stats.PanelBuilder(), what, 4)
    .colorMode(what.steps !== undefined || what.words !== undefined
      ? common.BigValueColorMode.Background : common.BigValueColorMode.Value)
    .graphMode(common.BigValueGraphMode.None)
    .textMode(common.BigValueTextMode.Value)
    .reduceOptions(new common.ReduceDataOptionsBuilder().calcs(["lastNotNull"]))
    .withTarget(target(query, 0).instant());
}

// Lines over time; stacked areas where the parts make a whole.
export function lines(what: Description, queries: Query[], stacked = false): timeseries.PanelBuilder {
  const panel = described(new timeseries.PanelBuilder(), { min: 0, ...what }, 8)
    .lineWidth(1)
    .fillOpacity(stacked ? 30 : 8)
    .showPoints(common.VisibilityMode.Never)
    .tooltip(new common.VizTooltipOptionsBuilder().mode(common.TooltipDisplayMode.Multi)
      .sort(common.SortOrder.Descending))
    .legend(new common.VizLegendOptionsBuilder().showLegend(true)
      .displayMode(common.LegendDisplayMode.Table).placement(common.LegendPlacement.Bottom)
      .calcs(["lastNotNull", "max"])
      .sortBy("Last *").sortDesc(true))  // the legend has room for a few lines
    .thresholdsStyle(new common.GraphThresholdsStyleConfigBuilder().mode(
      what.steps === undefined ? common.GraphThresholdsStyleMode.Off : common.GraphThresholdsStyleMode.Dashed));
  if (stacked) panel.stacking(new common.StackingConfigBuilder().mode(common.StackingMode.Normal));
  queries.forEach((query, index) => panel.withTarget(target(query, index).range()));
  return panel;
}

// Counts within a step of the time axis, as bars upon each other.
export function bars(what: Description, queries: Query[]): timeseries.PanelBuilder {
  return lines(what, queries, true).drawStyle(common.GraphDrawStyle.Bars).fillOpacity(70);
}

// States over time, a row for each series.
export function timeline(what: Description, queries: Query[]): timelines.PanelBuilder {
  const panel = described(new timelines.PanelBuilder(), what, 8)
    .mergeValues(true)
    .showValue(common.VisibilityMode.Never)
    .legend(new common.VizLegendOptionsBuilder().showLegend(true)
      .displayMode(common.LegendDisplayMode.List).placement(common.LegendPlacement.Bottom))
    .colorScheme(new dashboard.FieldColorBuilder().mode(dashboard.FieldColorModeId.Thresholds));
  queries.forEach((query, index) => panel.withTarget(target(query, index).range()));
  return panel;
}

// A histogram's buckets over time.
export function heatmap(what: Description, query: Query): heatmaps.PanelBuilder {
  return described(new heatmaps.PanelBuilder(), what, 9)
    .calculate(false)
    .yAxis(new heatmaps.YAxisConfigBuilder().unit(what.unit))
    .color(new heatmaps.HeatmapColorOptionsBuilder().mode(heatmaps.HeatmapColorMode.Scheme)
      .scheme("Oranges").exponent(0.5).steps(64).fill("dark-orange"))
    .cellGap(1)
    .filterValues(new heatmaps.FilterValueRangeBuilder().le(1e-9))
    .tooltip(new heatmaps.HeatmapTooltipBuilder().mode(common.TooltipDisplayMode.Single))
    .withTarget(target(query, 0).range().format(prometheus.PromQueryFormat.Heatmap));
}

// A column of a table: one query's value, joined with the others' by the labels in `by`.
export interface Column extends Query {
  name: string;
  unit: string;
  steps?: [number, string][];
  words?: Description["words"];
}

// A table with a row for each value of the labels `by`, and a link from the last of them to a dashboard.
export function table(what: Description, by: string[], columns: Column[],
                      link: { uid: string; title: string; variables: Record<string, string> }): tables.PanelBuilder {
  const panel = described(new tables.PanelBuilder(), what, 9).filterable(true);
  columns.forEach((column, index) =>
    panel.withTarget(target({ expr: column.expr }, index).instant().format(prometheus.PromQueryFormat.Table)));
  const valueOf = (index: number): string =>
    (columns.length === 1 ? "Value" : `Value #${String.fromCharCode("A".charCodeAt(0) + index)}`);
  const renamed: Record<string, string> = {};
  const places: Record<string, number> = {};
  by.forEach((label, index) => { places[label] = index; });
  columns.forEach((column, index) => {
    renamed[valueOf(index)] = column.name;
    places[valueOf(index)] = by.length + index;
  });
  panel.withTransformation({ id: "merge", options: {} });
  panel.withTransformation({
    id: "organize",
    options: { excludeByName: { Time: true }, indexByName: places, renameByName: renamed },
  });
  for (const column of columns) {
    const properties: dashboard.DynamicConfigValue[] = [{ id: "unit", value: column.unit }];
    if (column.steps !== undefined) {
      properties.push({ id: "thresholds", value: thresholds(column.steps).build() });
    }
    if (column.words !== undefined) properties.push({ id: "mappings", value: mappings(column.words) });
    if (column.steps !== undefined || column.words !== undefined) {
      properties.push({ id: "custom.cellOptions", value: { type: "color-text" } });
    }
    panel.overrideByName(column.name, properties);
  }
  const variables = Object.entries(link.variables).map(([name, value]) => `var-${name}=${value}`);
  panel.overrideByName(by[by.length - 1], [{
    id: "links",
    value: [{ title: link.title, url: `/d/${link.uid}?${["${__url_time_range}", ...variables].join("&")}` }],
  }]);
  return panel;
}

export const field = (label: string): string => `\${__data.fields.${label}}`;

// Events on the time axis: while `expr` has a value. `legend` is its text.
export function annotation(name: string, expr: string, legend: string, color: string): dashboard.AnnotationQueryBuilder {
  return new dashboard.AnnotationQueryBuilder()
    .name(name)
    .datasource(datasource)
    .enable(true)
    .iconColor(color)
    .expr(expr)
    .titleFormat(name)
    .textFormat(legend)
    .step("30s");
}

function choice(name: string, label: string, description: string, query: string): dashboard.QueryVariableBuilder {
  return new dashboard.QueryVariableBuilder(name)
    .label(label)
    .description(description)
    .datasource(datasource)
    .query({ query, refId: `variable-${name}` })
    .definition(query)
    .refresh(dashboard.VariableRefresh.OnTimeRangeChanged)
    .sort(dashboard.VariableSort.AlphabeticalAsc)
    .multi(true)
    .includeAll(true)
    .allValue(".+")
    .current({ selected: true, text: ["All"], value: ["$__all"] });
}

// A dashboard with what all have: data source, job, instance, links to the others.
export function board(uid: string, title: string, description: string,
                      options: { servers: boolean }): dashboard.DashboardBuilder {
  const builder = new dashboard.DashboardBuilder(title)
    .uid(uid)
    .description(description)
    .tags(["vmsrs"])
    .timezone("browser")
    .readonly()
    .tooltip(dashboard.DashboardCursorSync.Crosshair)
    .time({ from: "now-1h", to: "now" })
    .refresh("30s")
    .link(new dashboard.DashboardLinkBuilder("VMSRS").type(dashboard.DashboardLinkType.Dashboards)
      .tags(["vmsrs"]).asDropdown(true).includeVars(true).keepTime(true)
      .tooltip("The other dashboards, for the same hosts and the same time").icon("external link"))
    .withVariable(new dashboard.DatasourceVariableBuilder("datasource").label("Data source")
      .description("The Prometheus that scrapes vmsrsd and has loaded the recording rules").type("prometheus"))
    .withVariable(choice("job", "Job", "The scrape job of vmsrsd", "label_values(vmsrs_up, job)"))
    .withVariable(choice("instance", "Host", "The hosts to look at",
      'label_values(up{job=~"$job"}, instance)'));
  if (options.servers) {
    builder.withVariable(choice("server", "Server", "The servers to look at",
      `label_values(${ofHosts("vmsrs_server_attached")}, server)`));
  }
  return builder;
}

export const row = (title: string): dashboard.RowBuilder => new dashboard.RowBuilder(title);
