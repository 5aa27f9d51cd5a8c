//! Declared tables: what the services of an owner are to be.

use serde::{Deserialize, Deserializer, Serialize, de};

use super::{
    blocking::{Client, JSON, percent_encode},
    error::{ClientError, Problem, ProblemReason},
    etag::EntityTag,
    read::Resource,
    spec::ServiceSpec,
    write::{DeleteOptions, Precondition, WriteOptions},
};
use crate::model::{
    Adopt, Deletions, Director, HoldId, OnFailure, Owner, Reconcile, Removal, ServerKey,
    ServiceEntry, ServiceKey, SyncState,
};

/// What an owner declares.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct TableSpec {
    /// All services of the owner. Each needs its servers: [`ServiceSpec::servers`] is `Some`.
    pub services: Vec<ServiceSpec>,
    /// How it is kept.
    #[serde(flatten)]
    pub settings: TableSettingsSpec,
    /// The timeouts and sync daemons that it declares. Requires the role admin.
    #[serde(flatten)]
    pub director: Director,
}

/// How a declared table is kept. `None`: as declared before, at first the default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableSettingsSpec {
    /// What the daemon does about drift. Default `off`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reconcile: Option<Reconcile>,
    /// Whether servers that exist keep their weight. Default false.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep_weights: Option<bool>,
    /// What becomes of servers that are not declared any more. Default [`Removal::Now`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub removal: Option<Removal>,
    /// Seconds until servers that drain are deleted with the connections that they have. Default no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drain_deadline_seconds: Option<u32>,
}

/// Options of an apply.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ApplyOptions {
    /// Whether to plan only. Default false.
    pub dry_run: bool,
    /// What to do when an operation fails.
    pub on_failure: OnFailure,
    /// How many services, and how many servers, may be deleted. Default 30 %.
    pub max_deletes: Deletions,
    /// Which services may be taken over.
    pub adopt: Adopt,
    /// [`Applied::plan`] of an earlier plan: the daemon rejects the apply with
    /// [`Reason::PlanChanged`](crate::model::Reason::PlanChanged) if its operations are others now.
    pub expect_plan: Option<String>,
    /// Precondition on what is declared.
    pub precondition: Precondition,
}

/// What an apply or a batch did, or would do. Words that a newer daemon adds are kept as text.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Applied {
    /// Whose table it is; empty of a batch.
    #[serde(default)]
    pub owner: String,
    /// Identifies the apply in the log and the audit trail.
    pub apply_id: String,
    /// Number of the declaration; 0 if there is none.
    #[serde(default)]
    pub generation: u64,
    /// `unchanged`, `applied` or `planned`; of an apply that failed `rolled_back`,
    /// `rollback_incomplete`, `partial` or `running`.
    pub outcome: String,
    /// Digest of the operations, for [`ApplyOptions::expect_plan`].
    pub plan: String,
    /// The first 1000 operations, failed ones first.
    pub operations: Vec<TableOperation>,
    /// Number of all operations.
    pub operations_total: u64,
    /// Numbers of services and servers.
    pub summary: ApplySummary,
    /// Entity tag of the declaration; `None` if there is none.
    #[serde(default, deserialize_with = "etag")]
    pub etag: Option<EntityTag>,
}

/// An operation of an apply.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct TableOperation {
    /// What it does, such as `create_server`.
    pub op: String,
    /// Which operation of the batch asks for it, from 0; `None` of a table.
    pub index: Option<u64>,
    /// The service.
    pub service: Option<ServiceKey>,
    /// The server.
    pub server: Option<ServerKey>,
    /// The fields that differ, as they were, below the name of the resource: `{"server": {…}}`.
    pub before: Option<serde_json::Value>,
    /// The same fields, as the operation writes them.
    pub after: Option<serde_json::Value>,
    /// `planned`, `done`, `failed`, `undone`, `skipped`, or `draining`: the server is deleted at the end of `drain`.
    pub result: String,
    /// The drain that the deletion of a server has begun.
    pub drain: Option<HoldId>,
    /// What an undo could not restore: `counters`, `connections`, `server_order`.
    #[serde(default)]
    pub lost: Vec<String>,
    /// Why it failed.
    pub error: Option<OperationError>,
}

/// Why an operation of an apply failed.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct OperationError {
    /// Machine-readable reason.
    pub reason: ProblemReason,
    /// Explanation.
    pub detail: String,
}

/// Numbers of services and servers of an apply.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct ApplySummary {
    /// To be created.
    pub create: u64,
    /// To be changed in place.
    pub update: u64,
    /// To be deleted, with the servers of deleted services.
    pub delete: u64,
    /// Left as they are.
    pub unchanged: u64,
    /// Servers that are deleted when they are drained.
    #[serde(default)]
    pub draining: u64,
}

/// A declared table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeclaredTable {
    /// What is declared. It can be changed and applied.
    pub spec: TableSpec,
    /// Number of the declaration.
    pub generation: u64,
    /// Whether the kernel has what is declared.
    pub status: TableStatus,
}

/// A declared table in a list.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct TableOverview {
    /// Whose it is.
    pub owner: String,
    /// Number of the declaration.
    pub generation: u64,
    /// Number of its services.
    pub service_count: u64,
    /// Number of their servers.
    pub server_count: u64,
    /// How it is kept.
    #[serde(flatten)]
    pub settings: TableSettingsSpec,
    /// Entity tag of the declaration.
    #[serde(default, deserialize_with = "etag")]
    pub etag: Option<EntityTag>,
    /// Whether the kernel has what is declared.
    pub status: TableStatus,
}

/// The state of a declared table.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct TableStatus {
    /// `in_sync`, `drifted`, `applying` or `failed`.
    pub state: String,
    /// The last apply that began to change the kernel's table.
    pub last_apply: Option<LastApply>,
    /// Declared services that another owner has taken over.
    #[serde(default)]
    pub lost: Vec<ServiceKey>,
    /// What other programs keep changing, if it is under repair.
    #[serde(default)]
    pub conflicts: Vec<TableConflict>,
}

/// A service or server of a table under repair that another program keeps changing.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct TableConflict {
    /// `service`, `server`, `timeouts` or `sync_daemon`.
    pub resource: String,
    /// The service; `None` for timeouts and sync daemons.
    pub service: Option<ServiceKey>,
    /// The server; `None` for others.
    pub server: Option<ServerKey>,
    /// The state of the sync daemon; `None` for others.
    pub sync_daemon: Option<SyncState>,
    /// Repairs one after the other.
    pub repairs: u32,
    /// When it may be repaired again, in RFC 3339.
    pub next_repair_time: String,
}

/// The last apply of a table.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct LastApply {
    /// Identifies it in the log and the audit trail.
    pub apply_id: String,
    /// When it ended, in RFC 3339.
    pub end_time: String,
    /// How it ended, see [`Applied::outcome`].
    pub outcome: String,
}

/// The declared tables.
#[derive(Debug, Deserialize)]
struct TablesJson {
    tables: Vec<TableOverview>,
}

/// All operations of the last apply of a table.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct LastOperations {
    /// Identifies the apply in the log and the audit trail.
    pub apply_id: String,
    /// How it ended, see [`Applied::outcome`]; `running` if it has not ended.
    pub outcome: String,
    /// In the order of their execution.
    pub operations: Vec<TableOperation>,
}

/// A declared table.
#[derive(Debug, Deserialize)]
struct TableJson {
    generation: u64,
    #[serde(flatten)]
    settings: TableSettingsSpec,
    #[serde(flatten)]
    director: Director,
    #[serde(deserialize_with = "super::json::entries")]
    services: Vec<ServiceEntry>,
    status: TableStatus,
}

// === impl ApplyOptions ===

impl ApplyOptions {
    fn path(&self, owner: &Owner) -> String {
        let max_deletes = percent_encode(&self.max_deletes.to_string());
        let mut path = format!(
            "{}?on_failure={}&max_deletes={max_deletes}&adopt={}",
            table_path(owner),
            self.on_failure.as_str(),
            self.adopt.as_str()
        );
        if let Some(plan) = &self.expect_plan {
            path += &format!("&expect_plan={}", percent_encode(plan));
        }
        path
    }
}

// === impl DeclaredTable ===

impl From<TableJson> for DeclaredTable {
    fn from(json: TableJson) -> Self {
        let TableJson {
            generation,
            settings,
            director,
            services,
            status,
        } = json;
        Self {
            spec: TableSpec {
                services: services.iter().map(ServiceSpec::from).collect(),
                settings,
                director,
            },
            generation,
            status,
        }
    }
}

// === impl Problem ===

impl Problem {
    /// What an apply that failed did. `None` if the request was no apply, or was rejected before the
    /// first operation.
    pub fn applied(&self) -> Option<Applied> {
        serde_json::from_slice(&self.json).ok()
    }
}

// === impl Client ===

/// Declared tables.
impl Client {
    /// Makes the services of an owner what `table` declares. An apply of which an operation fails is
    /// an error: see [`Problem::applied`].
    pub fn apply_table(
        &self,
        owner: &Owner,
        table: &TableSpec,
        options: &ApplyOptions,
    ) -> Result<Applied, ClientError> {
        let json = self.apply_table_json(owner, &serde_json::to_vec(table)?, options)?;
        Ok(serde_json::from_slice(&json)?)
    }

    /// As [`Self::apply_table`], with the table and the result as JSON.
    pub fn apply_table_json(
        &self,
        owner: &Owner,
        table: &[u8],
        options: &ApplyOptions,
    ) -> Result<Vec<u8>, ClientError> {
        let body = Some((JSON, table));
        let path = options.path(owner);
        let (json, _) =
            self.send_write("PUT", path, body, options.dry_run, &options.precondition)?;
        Ok(json)
    }

    /// Lists the declared tables by owner. Returns them, and the pages as the daemon sent them.
    pub fn tables(&self) -> Result<(Vec<TableOverview>, Vec<Vec<u8>>), ClientError> {
        self.elements("/v1/tables", |page: TablesJson| page.tables)
    }

    /// Reads the operations of the last apply of an owner's table, and of one that is in progress. Returns them, and
    /// the pages as the daemon sent them. Fails if another apply begins before the last page is read.
    pub fn table_operations(
        &self,
        owner: &Owner,
    ) -> Result<(LastOperations, Vec<Vec<u8>>), ClientError> {
        let path = format!("{}/operations", table_path(owner));
        let mut last = None;
        let (operations, pages) = self.elements(&path, |page: LastOperations| {
            let LastOperations {
                apply_id,
                outcome,
                operations,
            } = page;
            last = Some((apply_id, outcome));
            operations
        })?;
        // There is a page at least.
        let (apply_id, outcome) = last.unwrap_or_default();
        let all = LastOperations {
            apply_id,
            outcome,
            operations,
        };
        Ok((all, pages))
    }

    /// Reads the declared table of an owner.
    pub fn table(&self, owner: &Owner) -> Result<Resource<DeclaredTable>, ClientError> {
        let table = self.resource::<TableJson>(&table_path(owner))?;
        Ok(table.map(DeclaredTable::from))
    }

    /// Changes how the declared table of an owner is kept.
    pub fn update_table(
        &self,
        owner: &Owner,
        settings: &TableSettingsSpec,
        options: &WriteOptions,
    ) -> Result<TableOverview, ClientError> {
        let json = self.update_table_json(owner, settings, options)?;
        Ok(serde_json::from_slice(&json)?)
    }

    /// As [`Self::update_table`], with the result as JSON.
    pub fn update_table_json(
        &self,
        owner: &Owner,
        settings: &TableSettingsSpec,
        options: &WriteOptions,
    ) -> Result<Vec<u8>, ClientError> {
        let body = serde_json::to_vec(settings)?;
        let (path, body) = (table_path(owner), Some((JSON, body.as_slice())));
        let (json, _) =
            self.send_write("PATCH", path, body, options.dry_run, &options.precondition)?;
        Ok(json)
    }

    /// Plans what would make the services of an owner what is declared. Returns the daemon's JSON, too.
    pub fn drift(&self, owner: &Owner) -> Result<(Applied, Vec<u8>), ClientError> {
        self.get(&format!("{}/drift", table_path(owner)))
    }

    /// Deletes the declared table of an owner, and its services; `None` if there was none, which
    /// [`DeleteOptions::allow_missing`] accepts. Needs `confirm`, the number of services that it
    /// declares, or a precondition. Without `removal`, that of the table holds.
    pub fn delete_table(
        &self,
        owner: &Owner,
        confirm: Option<u64>,
        removal: Option<Removal>,
        options: &DeleteOptions,
    ) -> Result<Option<Applied>, ClientError> {
        let json = self.delete_table_json(owner, confirm, removal, options)?;
        Ok(json.map(|json| serde_json::from_slice(&json)).transpose()?)
    }

    /// As [`Self::delete_table`], with the result as JSON.
    pub fn delete_table_json(
        &self,
        owner: &Owner,
        confirm: Option<u64>,
        removal: Option<Removal>,
        options: &DeleteOptions,
    ) -> Result<Option<Vec<u8>>, ClientError> {
        let DeleteOptions {
            dry_run,
            precondition,
            allow_missing,
        } = options;
        let mut path = format!("{}?allow_missing={allow_missing}", table_path(owner));
        if let Some(confirm) = confirm {
            path += &format!("&confirm={confirm}");
        }
        if let Some(removal) = removal {
            path += &format!("&removal={}", removal.as_str());
        }
        let (json, response) = self.send_write("DELETE", path, None, *dry_run, precondition)?;
        Ok((response.status != http::StatusCode::NO_CONTENT).then_some(json))
    }
}

/// The path of a table. The name of an owner needs no encoding.
fn table_path(owner: &Owner) -> String {
    format!("/v1/tables/{owner}")
}

fn etag<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<EntityTag>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    let etag = text.map(|text| text.parse::<EntityTag>());
    etag.transpose().map_err(de::Error::custom)
}
