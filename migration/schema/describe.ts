import type { AlterTableCmd, Node, RangeVar } from 'libpg-query'

/** What a statement is about, in PostgreSQL's words. */
export interface Description {
  /** As in pg_dump's table of contents (TABLE, INDEX, FK CONSTRAINT, ACL …), or `OWNER OF …`, `COMMENT ON …`. */
  kind: string
  schemaName: string | null
  /** What the statement makes or changes. */
  objectName: string | null
  /** The table that an index, constraint, trigger, rule or policy belongs to, in the same schema. */
  tableName: string | null
}

/**
 * Names a statement by its syntax tree: names in pg_dump's comments are ambiguous (newlines are replaced).
 *
 * @param header the comment lines in front of the statement, for those that the tree does not name
 */
export function describe(node: Node | undefined, header: string): Description {
  return (node === undefined ? undefined : describeNode(node)) ?? describeHeader(header)
}

function describeHeader(header: string): Description {
  const entry = /^-- Name: (.*); Type: ([A-Z ]+); Schema: (.*); Owner: .*$/m.exec(header)
  const [, name, kind, schema] = entry ?? []
  const schemaName = schema === undefined || schema === '-' ? null : schema
  return { kind: kind ?? 'STATEMENT', schemaName, objectName: name ?? null, tableName: null }
}

function describeNode(node: Node): Description | undefined {
  if ('CreateStmt' in node) return relation('TABLE', node.CreateStmt.relation)
  if ('CreateForeignTableStmt' in node) return relation('FOREIGN TABLE', node.CreateForeignTableStmt.base?.relation)
  if ('CreateTableAsStmt' in node) return relation('MATERIALIZED VIEW', node.CreateTableAsStmt.into?.rel)
  if ('RefreshMatViewStmt' in node) return relation('MATERIALIZED VIEW DATA', node.RefreshMatViewStmt.relation)
  if ('ViewStmt' in node) return relation('VIEW', node.ViewStmt.view)
  if ('CreateSeqStmt' in node) return relation('SEQUENCE', node.CreateSeqStmt.sequence)
  if ('AlterSeqStmt' in node) return describeSequenceOwner(node.AlterSeqStmt.sequence, node.AlterSeqStmt.options)
  if ('CompositeTypeStmt' in node) return relation('TYPE', node.CompositeTypeStmt.typevar)
  if ('CreateEnumStmt' in node) return named('TYPE', node.CreateEnumStmt.typeName)
  if ('CreateRangeStmt' in node) return named('TYPE', node.CreateRangeStmt.typeName)
  if ('CreateDomainStmt' in node) return named('DOMAIN', node.CreateDomainStmt.domainname)
  if ('AlterDomainStmt' in node) return named('CHECK CONSTRAINT', node.AlterDomainStmt.typeName)
  if ('CreateFunctionStmt' in node) {
    return named(node.CreateFunctionStmt.is_procedure ? 'PROCEDURE' : 'FUNCTION', node.CreateFunctionStmt.funcname)
  }
  if ('DefineStmt' in node) return named(objectType(node.DefineStmt.kind), node.DefineStmt.defnames)
  if ('AlterTSConfigurationStmt' in node) {
    return named('OPTION OF TEXT SEARCH CONFIGURATION', node.AlterTSConfigurationStmt.cfgname)
  }
  if ('CreateSchemaStmt' in node) return top('SCHEMA', node.CreateSchemaStmt.schemaname)
  if ('CreateExtensionStmt' in node) return top('EXTENSION', node.CreateExtensionStmt.extname)
  if ('IndexStmt' in node) return part('INDEX', node.IndexStmt.relation, node.IndexStmt.idxname)
  if ('CreateTrigStmt' in node) return part('TRIGGER', node.CreateTrigStmt.relation, node.CreateTrigStmt.trigname)
  if ('RuleStmt' in node) return part('RULE', node.RuleStmt.relation, node.RuleStmt.rulename)
  if ('CreatePolicyStmt' in node) return part('POLICY', node.CreatePolicyStmt.table, node.CreatePolicyStmt.policy_name)
  if ('CreateStatsStmt' in node) return named('STATISTICS', node.CreateStatsStmt.defnames)
  if ('AlterStatsStmt' in node) return named('STATISTICS', node.AlterStatsStmt.defnames)
  if ('CreateEventTrigStmt' in node) return top('EVENT TRIGGER', node.CreateEventTrigStmt.trigname)
  if ('AlterEventTrigStmt' in node) return top('EVENT TRIGGER', node.AlterEventTrigStmt.trigname)
  if ('CreatePublicationStmt' in node) return top('PUBLICATION', node.CreatePublicationStmt.pubname)
  if ('AlterPublicationStmt' in node) return top('PUBLICATION TABLE', node.AlterPublicationStmt.pubname)
  if ('AlterTableStmt' in node) {
    const { relation: table, cmds, objtype } = node.AlterTableStmt
    const command = cmds?.[0] !== undefined && 'AlterTableCmd' in cmds[0] ? cmds[0].AlterTableCmd : undefined
    return command && describeAlterTable(table, objectType(objtype), command)
  }
  if ('AlterOwnerStmt' in node) {
    return ofObject('OWNER OF', objectType(node.AlterOwnerStmt.objectType), node.AlterOwnerStmt.object)
  }
  if ('CommentStmt' in node)
    return ofObject('COMMENT ON', objectType(node.CommentStmt.objtype), node.CommentStmt.object)
  if ('SecLabelStmt' in node) {
    return ofObject('SECURITY LABEL ON', objectType(node.SecLabelStmt.objtype), node.SecLabelStmt.object)
  }
  if ('GrantStmt' in node) {
    return ofObject('ACL ON', objectType(node.GrantStmt.objtype), node.GrantStmt.objects?.[0])
  }
  if ('AlterDefaultPrivilegesStmt' in node) return top('DEFAULT ACL', null)
  return undefined
}

/** Commands of ALTER TABLE, as pg_dump uses them, that name a part of the table. */
const PART_COMMANDS = new Map<string, string>([
  ['AT_ColumnDefault', 'DEFAULT'],
  ['AT_ClusterOn', 'CLUSTER'],
  ['AT_EnableTrig', 'TRIGGER'],
  ['AT_EnableAlwaysTrig', 'TRIGGER'],
  ['AT_EnableReplicaTrig', 'TRIGGER'],
  ['AT_DisableTrig', 'TRIGGER'],
  ['AT_EnableRule', 'RULE'],
  ['AT_EnableAlwaysRule', 'RULE'],
  ['AT_EnableReplicaRule', 'RULE'],
  ['AT_DisableRule', 'RULE'],
])

/** Those that concern the table as a whole. */
const TABLE_COMMANDS = new Map<string, string>([
  ['AT_AddIdentity', 'IDENTITY'],
  ['AT_ReplicaIdentity', 'REPLICA IDENTITY'],
  ['AT_EnableRowSecurity', 'ROW SECURITY'],
  ['AT_ForceRowSecurity', 'ROW SECURITY'],
])

const CONSTRAINT_KINDS = new Map<string, string>([
  ['CONSTR_FOREIGN', 'FK CONSTRAINT'],
  ['CONSTR_CHECK', 'CHECK CONSTRAINT'],
])

function describeAlterTable(table: RangeVar | undefined, type: string, command: AlterTableCmd): Description {
  const { subtype = '', name, def } = command
  if (subtype === 'AT_ChangeOwner') return relation(`OWNER OF ${type}`, table)
  if (subtype === 'AT_AddConstraint' && def !== undefined && 'Constraint' in def) {
    const { contype = '', conname } = def.Constraint
    return part(CONSTRAINT_KINDS.get(contype) ?? 'CONSTRAINT', table, conname)
  }
  if (subtype === 'AT_AttachPartition' && def !== undefined && 'PartitionCmd' in def) {
    const child = relation(`${type} ATTACH`, def.PartitionCmd.name)
    return type === 'INDEX' ? child : { ...child, tableName: table?.relname ?? null }
  }
  const ofPart = PART_COMMANDS.get(subtype)
  if (ofPart !== undefined) return part(ofPart, table, name)
  const ofTable = TABLE_COMMANDS.get(subtype)
  if (ofTable !== undefined) return part(ofTable, table, table?.relname)
  return relation(`OPTION OF ${type}`, table)
}

function describeSequenceOwner(sequence: RangeVar | undefined, options: Node[] | undefined): Description {
  const owner = options?.[0] !== undefined && 'DefElem' in options[0] ? options[0].DefElem.arg : undefined
  const names = owner === undefined ? [] : namesOf(owner)
  return { ...relation('SEQUENCE OWNED BY', sequence), tableName: names.at(-2) ?? null }
}

function relation(kind: string, range: RangeVar | undefined): Description {
  const tables = kind.endsWith('TABLE')
  const objectName = range?.relname ?? null
  return { kind, schemaName: range?.schemaname ?? null, objectName, tableName: tables ? objectName : null }
}

function part(kind: string, table: RangeVar | undefined, name: string | undefined): Description {
  return {
    kind,
    schemaName: table?.schemaname ?? null,
    objectName: name ?? null,
    tableName: table?.relname ?? null,
  }
}

function named(kind: string, name: Node[] | string | undefined): Description {
  const names = (Array.isArray(name) ? name : []).flatMap(namesOf)
  return { kind, schemaName: names.at(-2) ?? null, objectName: names.at(-1) ?? null, tableName: null }
}

function top(kind: string, name: string | null | undefined): Description {
  return { kind, schemaName: null, objectName: name ?? null, tableName: null }
}

/** Parts of tables are named by schema, table and part. */
const PARTS = new Set(['CONSTRAINT', 'TRIGGER', 'RULE', 'POLICY', 'COLUMN'])

function ofObject(prefix: string, type: string, object: Node | undefined): Description {
  const kind = `${prefix} ${type}`
  if (object !== undefined && 'RangeVar' in object) return relation(kind, object.RangeVar)
  const names = object === undefined ? [] : namesOf(object)
  if (PARTS.has(type)) {
    return {
      kind,
      schemaName: names.at(-3) ?? null,
      objectName: names.at(-1) ?? null,
      tableName: names.at(-2) ?? null,
    }
  }
  const tableName = type === 'TABLE' ? (names.at(-1) ?? null) : null
  return { kind, schemaName: names.at(-2) ?? null, objectName: names.at(-1) ?? null, tableName }
}

/** The names in a node that refers to an object. */
function namesOf(node: Node): string[] {
  if ('String' in node) return [node.String.sval ?? '']
  if ('List' in node) return (node.List.items ?? []).flatMap(namesOf)
  if ('ObjectWithArgs' in node) return (node.ObjectWithArgs.objname ?? []).flatMap(namesOf)
  if ('TypeName' in node) return (node.TypeName.names ?? []).flatMap(namesOf)
  if ('RangeVar' in node) return [node.RangeVar.schemaname, node.RangeVar.relname].filter((name) => name !== undefined)
  return []
}

/** `OBJECT_MATVIEW` in SQL's words: MATERIALIZED VIEW. */
function objectType(type: string | undefined): string {
  const word = (type ?? '').replace(/^OBJECT_/, '')
  return SQL_WORDS[word] ?? word
}

const SQL_WORDS: Record<string, string> = {
  MATVIEW: 'MATERIALIZED VIEW',
  TABCONSTRAINT: 'CONSTRAINT',
  DOMCONSTRAINT: 'DOMAIN CONSTRAINT',
  EVENT_TRIGGER: 'EVENT TRIGGER',
  STATISTIC_EXT: 'STATISTICS',
  FOREIGN_TABLE: 'FOREIGN TABLE',
  TSCONFIGURATION: 'TEXT SEARCH CONFIGURATION',
  TSDICTIONARY: 'TEXT SEARCH DICTIONARY',
  TSPARSER: 'TEXT SEARCH PARSER',
  TSTEMPLATE: 'TEXT SEARCH TEMPLATE',
  OPCLASS: 'OPERATOR CLASS',
  OPFAMILY: 'OPERATOR FAMILY',
  FDW: 'FOREIGN DATA WRAPPER',
  FOREIGN_SERVER: 'SERVER',
}
