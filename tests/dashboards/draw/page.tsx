// SPDX-License-Identifier: Apache-2.0
// The dashboards as Grafana would show them, from their JSON and what record.py has recorded: numbers, lines and bars by Grafana's own
// parts; tables, heat maps and timelines, whose parts are not published, by means of this file.
import {
  applyFieldOverrides, createTheme, dateTime, EventBusSrv, FieldType, getDisplayProcessor, ThemeContext,
  type DataFrame, type DisplayProcessor, type FieldConfig, type GrafanaTheme2, type TimeRange,
} from "@grafana/data";
import { BigValue, GlobalStyles, PanelChrome, PanelContextProvider, TimeSeries } from "@grafana/ui";
import { createRoot } from "react-dom/client";

type Series = { metric: Record<string, string>; values?: [number, string][]; value?: [number, string] };
type Data = { target: { refId: string; legendFormat?: string }; series: Series[] };
type Panel = {
  title: string; type: string; gridPos: { x: number; y: number; w: number; h: number };
  fieldConfig?: { defaults: FieldConfig; overrides: { matcher: { options: string }; properties: { id: string; value: unknown }[] }[] };
  options?: Record<string, any>; transformations?: { id: string; options: any }[]; data: Data[];
};
declare const recorded: { begin: number; end: number; boards: { title: string; panels: Panel[] }[] };

const kColumn = 58, kRow = 38;
const range: TimeRange = {
  from: dateTime(recorded.begin * 1000), to: dateTime(recorded.end * 1000),
  raw: { from: dateTime(recorded.begin * 1000), to: dateTime(recorded.end * 1000) },
};

const named = (one: Series, legend: string | undefined): string =>
  legend !== undefined && legend !== "__auto"
    ? legend.replace(/{{(\w+)}}/g, (_, label: string) => one.metric[label] ?? "")
    : Object.values(one.metric).join(" ");

function frames(panel: Panel, theme: GrafanaTheme2): DataFrame[] {
  const made = panel.data.flatMap(({ target, series }) => series.map((one) => {
    const values = one.values ?? [one.value!];
    return {
      refId: target.refId, length: values.length, fields: [
        { name: "Time", type: FieldType.time, config: {}, values: values.map(([time]) => time * 1000) },
        { name: "Value", type: FieldType.number, labels: one.metric, values: values.map(([, value]) => (value === "NaN" ? null : Number(value))),
          config: { color: { mode: "palette-classic" }, ...structuredClone(panel.fieldConfig!.defaults), displayNameFromDS: named(one, target.legendFormat) } },
      ],
    } as unknown as DataFrame;
  }));
  return applyFieldOverrides({
    data: made, theme, timeZone: "utc", replaceVariables: (text: string) => text, fieldConfig: { defaults: {}, overrides: [] },
  });
}

function shownBy(panel: Panel, theme: GrafanaTheme2, config: FieldConfig = panel.fieldConfig!.defaults): DisplayProcessor {
  return getDisplayProcessor({ field: { type: FieldType.number, config: { ...config, color: { mode: "thresholds" } } }, theme });
}

function Stat({ panel, theme, width, height }: Drawn) {
  const value = panel.data[0]?.series[0]?.value;
  const shown = shownBy(panel, theme)(value === undefined ? null : Number(value[1]));
  if (value === undefined) shown.text = panel.fieldConfig!.defaults.noValue ?? "No data";
  return <BigValue theme={theme} width={width} height={height} value={shown} colorMode={panel.options!.colorMode}
    graphMode={panel.options!.graphMode} justifyMode={"auto" as any} textMode={"value" as any} />;
}

function Lines({ panel, theme, width, height }: Drawn) {
  const made = frames(panel, theme);
  if (made.length === 0) return <Nothing panel={panel} />;
  return <TimeSeries frames={made} width={width} height={height} timeRange={range} timeZone="utc" legend={panel.options!.legend} />;
}

const Nothing = ({ panel }: { panel: Panel }) =>
  <div style={{ textAlign: "center", padding: 30, opacity: 0.6 }}>{panel.fieldConfig?.defaults.noValue ?? "No data"}</div>;

// A row for each set of the labels that all queries have, a column for each query.
function Rows({ panel, theme }: Drawn) {
  const organized = panel.transformations!.find((one) => one.id === "organize")!.options;
  const labels = Object.keys(organized.indexByName).filter((name) => !name.startsWith("Value"))
    .sort((a, b) => organized.indexByName[a] - organized.indexByName[b]);
  const rows = new Map<string, { metric: Record<string, string>; values: (number | undefined)[] }>();
  panel.data.forEach(({ series }, column) => series.forEach((one) => {
    const key = labels.map((label) => one.metric[label] ?? "").join("\0");
    const row = rows.get(key) ?? { metric: one.metric, values: [] };
    row.values[column] = Number(one.value![1]);
    rows.set(key, row);
  }));
  const nameOf = (column: number): string =>
    organized.renameByName[panel.data.length === 1 ? "Value" : `Value #${panel.data[column].target.refId}`];
  const configOf = (name: string): FieldConfig => Object.fromEntries([
    ...Object.entries(panel.fieldConfig!.defaults),
    ...panel.fieldConfig!.overrides.filter((one) => one.matcher.options === name)
      .flatMap((one) => one.properties.map(({ id, value }) => [id, value]))]);
  return <table style={{ width: "100%" }}>
    <thead><tr>{[...labels, ...panel.data.map((_, column) => nameOf(column))].map((name) =>
      <th key={name} style={{ color: theme.colors.primary.text, padding: 6 }}>{name}</th>)}</tr></thead>
    <tbody>{[...rows.entries()].map(([key, row]) => <tr key={key} style={{ borderTop: `1px solid ${theme.colors.border.weak}` }}>
      {labels.map((label) => <td key={label} style={{ padding: 6 }}>{row.metric[label] ?? ""}</td>)}
      {panel.data.map((_, column) => {
        const config = configOf(nameOf(column));
        const shown = row.values[column] === undefined ? undefined : shownBy(panel, theme, config)(row.values[column]);
        return <td key={column} style={{ padding: 6, color: "custom.cellOptions" in config ? shown?.color : undefined }}>
          {shown && `${shown.prefix ?? ""}${shown.text}${shown.suffix ?? ""}`}</td>;
      })}</tr>)}</tbody>
  </table>;
}

function Timeline({ panel, theme, width, height }: Drawn) {
  const rows = panel.data.flatMap(({ target, series }) => series.map((one) => ({ name: named(one, target.legendFormat), values: one.values ?? [] })));
  const shown = shownBy(panel, theme), names = 230, at = (time: number): number =>
    (time - recorded.begin) / (recorded.end - recorded.begin) * (width - names);
  const each = Math.min(28, (height - 24) / Math.max(1, rows.length));
  const words = [...new Map(rows.flatMap((row) => row.values).map(([, value]) => [shown(Number(value)).text, shown(Number(value)).color]))];
  return <svg width={width} height={height} style={{ fontSize: 12 }}>
    {rows.map((row, index) => <g key={row.name} transform={`translate(0 ${index * each})`}>
      <text x={names - 8} y={each / 2 + 4} textAnchor="end" fill={theme.colors.text.primary}>{row.name}</text>
      {row.values.map(([time, value]) => <rect key={time} x={names + at(time)} y={2} width={at(recorded.begin + 2) + 1}
        height={each - 4} fill={shown(Number(value)).color} />)}
    </g>)}
    <g transform={`translate(${names} ${rows.length * each + 18})`}>{words.map(([text, color], index) =>
      <g key={text} transform={`translate(${index * 140} 0)`}><rect y={-9} width={14} height={4} fill={color} />
        <text x={20} fill={theme.colors.text.primary}>{text}</text></g>)}</g>
  </svg>;
}

function Heat({ panel, theme, width, height }: Drawn) {
  const buckets = [...panel.data[0].series].sort((a, b) => Number(a.metric.le.replace("+Inf", "Infinity")) - Number(b.metric.le.replace("+Inf", "Infinity")));
  const cells = buckets.flatMap((one, row) => (one.values ?? []).map(([time, value], index) =>
    ({ row, time, count: Number(value) - Number(buckets[row - 1]?.values?.[index]?.[1] ?? 0) })));
  const most = Math.max(...cells.map((cell) => cell.count), 1e-9), names = 70, each = (height - 8) / buckets.length;
  const shown = shownBy(panel, theme, { unit: panel.options!.yAxis.unit });
  return <svg width={width} height={height} style={{ fontSize: 11 }}>
    {buckets.map((one, row) => { const limit = shown(Number(one.metric.le)); return <text key={row} x={names - 6}
      y={height - row * each - 4} textAnchor="end" fill={theme.colors.text.secondary}>
      {one.metric.le === "+Inf" ? "more" : `${limit.text}${limit.suffix ?? ""}`}</text>; })}
    {cells.filter((cell) => cell.count > 1e-9).map((cell) => <rect key={`${cell.row} ${cell.time}`}
      x={names + (cell.time - recorded.begin) / (recorded.end - recorded.begin) * (width - names)} y={height - (cell.row + 1) * each}
      width={2 * (width - names) / (recorded.end - recorded.begin) + 1} height={each - 1} fill="darkorange"
      opacity={Math.sqrt(cell.count / most)} />)}
  </svg>;
}

type Drawn = { panel: Panel; theme: GrafanaTheme2; width: number; height: number };
const kinds: Record<string, (drawn: Drawn) => React.JSX.Element> = {
  stat: Stat, timeseries: Lines, table: Rows, "state-timeline": Timeline, heatmap: Heat,
};

function Board({ number, theme }: { number: number; theme: GrafanaTheme2 }) {
  const board = recorded.boards[number];
  const bottom = Math.max(...board.panels.map(({ gridPos }) => gridPos.y + gridPos.h));
  return <ThemeContext.Provider value={theme}>
    <GlobalStyles />
    <PanelContextProvider value={{ eventsScope: "drawn", eventBus: new EventBusSrv() } as any}>
      <h3 style={{ margin: 12 }}>{board.title}</h3>
      <div style={{ position: "relative", width: 24 * kColumn, height: bottom * kRow, margin: 12 }}>
        {board.panels.map((panel) => {
          const { x, y, w, h } = panel.gridPos, width = w * kColumn - 8, height = h * kRow - 8;
          const Kind = kinds[panel.type];
          return <div key={`${panel.title} ${y}`} style={{ position: "absolute", left: x * kColumn, top: y * kRow, width, height }}>
            {panel.type === "row" ? <h5 style={{ margin: 8 }}>{panel.title}</h5> :
              <PanelChrome title={panel.title} width={width} height={height} padding="md">
                {(inner: number, high: number) => <Kind panel={panel} theme={theme} width={inner} height={high} />}
              </PanelChrome>}
          </div>;
        })}
      </div>
    </PanelContextProvider>
  </ThemeContext.Provider>;
}

const words = new URLSearchParams(location.search);
createRoot(document.getElementById("board")!).render(
  <Board number={Number(words.get("board"))} theme={createTheme({ colors: { mode: words.get("mode") as "dark" | "light" } })} />);
