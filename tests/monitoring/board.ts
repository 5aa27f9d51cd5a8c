// The types that deploy/grafana/ipvsd.json must have: Grafana's own, from its package @grafana/schema.
// tests/monitoring/board appends the board, each panel as a constant of the type of its kind.
import type { Dashboard, Panel, RowPanel } from '@grafana/schema';
import type * as stat from '@grafana/schema/dist/esm/raw/composable/stat/panelcfg/x/StatPanelCfg_types.gen';
import type * as states from '@grafana/schema/dist/esm/raw/composable/statetimeline/panelcfg/x/StateTimelinePanelCfg_types.gen';
import type * as table from '@grafana/schema/dist/esm/raw/composable/table/panelcfg/x/TablePanelCfg_types.gen';
import type * as timeseries from '@grafana/schema/dist/esm/raw/composable/timeseries/panelcfg/x/TimeSeriesPanelCfg_types.gen';

/** A type as JSON has it: values of an enumeration are their texts. */
type Json<T> = T extends string ? `${T}`
    : T extends number | boolean | null | undefined ? T
    : T extends readonly (infer Item)[] ? Json<Item>[]
    : T extends object ? { [Key in keyof T]: Json<T[Key]> }
    : T;

/** A query of Grafana's data source for Prometheus, of which the package has no type. */
interface Query {
    refId: string;
    datasource: { type: 'prometheus'; uid: '${datasource}' };
    editorMode: 'code' | 'builder';
    expr: string;
    format: 'time_series' | 'table';
    legendFormat: string;
    instant: boolean;
    range: boolean;
}

type Fields<Custom> = Omit<NonNullable<Panel['fieldConfig']>, 'defaults'> & {
    defaults: Omit<NonNullable<Panel['fieldConfig']>['defaults'], 'custom'> & { custom?: Custom };
};

/** A panel: as Grafana's, with the options and fields of its kind, and without any others. */
type Typed<Kind extends string, Options, Custom> = Json<
    Required<Pick<Panel, 'id' | 'title' | 'description' | 'datasource' | 'gridPos'>>
    & Pick<Panel, 'transformations'>
    & { type: Kind; options: Options; fieldConfig: Fields<Custom>; targets: Query[] }
>;

interface Panels {
    row: Json<RowPanel>;
    stat: Typed<'stat', stat.Options, never>;
    'state-timeline': Typed<'state-timeline', states.Options, states.FieldConfig>;
    table: Typed<'table', table.Options, table.FieldConfig>;
    timeseries: Typed<'timeseries', timeseries.Options, timeseries.FieldConfig>;
}

type Board = Json<Omit<Dashboard, 'panels'>>;

// Without the types of the package, everything would be accepted.
type Custom = NonNullable<Panels['timeseries']['fieldConfig']['defaults']['custom']>;
export const line: Custom = { drawStyle: 'line' };
// @ts-expect-error: no such style
export const lines: Custom = { drawStyle: 'lines' };
// @ts-expect-error: no such field
export const width: Custom = { linewidth: 1 };
// @ts-expect-error: no such mode
export const mode: Panels['stat']['options']['colorMode'] = 'text';
// @ts-expect-error: no such field
export const untitled: Board = { schemaVersion: 42, name: 'ipvsd' };

