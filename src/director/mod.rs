//! The use cases: what both faces, HTTP and gRPC, can ask for. A face turns its request into a call
//! of [`Director`] and the answer into its own form; it decides nothing.

mod list;
mod types;

use std::collections::BTreeMap;

pub use list::{Filter, ListServers, ListServices, Order, ServerPage, ServicePage};
pub use types::{
    Answer, Call, ConnectionStream, Count, Guard, InfoReport, KernelReport, SchedulerReport,
    StatsReport, StatsRequest, TopServer, Written,
};

use crate::model::{
    ConnectionFilter, CountBy, Error, Field, Include, Server, ServerDraft, ServerKey, ServiceDraft,
    ServiceEntry, ServiceKey, SettingValue, Settings, SyncDaemon, SyncDaemonDraft, SyncState,
    Timeouts, TimeoutsDraft,
};

/// The use cases over one network namespace. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Director {}

#[allow(unused_variables, clippy::unimplemented)]
impl Director {
    /// Lists services, a page at a time (ipvsadm -L).
    pub async fn list_services(
        &self,
        list: ListServices,
        call: Call,
    ) -> Result<Answer<ServicePage>, Error> {
        unimplemented!()
    }

    /// One service; its servers are read only if `include` wants them (ipvsadm -L -t).
    pub async fn service(
        &self,
        key: ServiceKey,
        include: Include,
        call: Call,
    ) -> Result<Answer<ServiceEntry>, Error> {
        unimplemented!()
    }

    /// Creates a service, with the draft's servers if it has any; refused where it exists
    /// (ipvsadm -A).
    pub async fn create_service(
        &self,
        draft: ServiceDraft,
        call: Call,
    ) -> Result<Written<ServiceEntry>, Error> {
        unimplemented!()
    }

    /// Creates or replaces a service; with `servers`, replaces the set too, adding before removing
    /// (ipvsadm -A or -E).
    pub async fn put_service(
        &self,
        key: ServiceKey,
        draft: ServiceDraft,
        guard: Guard,
        call: Call,
    ) -> Result<Written<ServiceEntry>, Error> {
        unimplemented!()
    }

    /// Changes what the draft names, keeps the rest. With `create`, a service that is missing is
    /// created.
    pub async fn update_service(
        &self,
        key: ServiceKey,
        draft: ServiceDraft,
        guard: Guard,
        create: bool,
        call: Call,
    ) -> Result<Written<ServiceEntry>, Error> {
        unimplemented!()
    }

    /// Deletes a service with its servers (ipvsadm -D). `false` where it was missing, which
    /// `allow_missing` must allow.
    pub async fn delete_service(
        &self,
        key: ServiceKey,
        allow_missing: bool,
        guard: Guard,
        call: Call,
    ) -> Result<bool, Error> {
        unimplemented!()
    }

    /// Deletes all services (ipvsadm -C). `confirm` must be their number. Returns it.
    pub async fn clear_services(&self, confirm: Option<u64>, call: Call) -> Result<u64, Error> {
        unimplemented!()
    }

    /// Lists the servers of a service, a page at a time.
    pub async fn list_servers(
        &self,
        service: ServiceKey,
        list: ListServers,
        call: Call,
    ) -> Result<Answer<ServerPage>, Error> {
        unimplemented!()
    }

    /// One server.
    pub async fn server(
        &self,
        service: ServiceKey,
        server: ServerKey,
        call: Call,
    ) -> Result<Answer<Server>, Error> {
        unimplemented!()
    }

    /// Creates servers, all or none; refused where one exists (ipvsadm -a). Returns them in the
    /// order of the drafts.
    pub async fn create_servers(
        &self,
        service: ServiceKey,
        drafts: Vec<ServerDraft>,
        call: Call,
    ) -> Result<Written<Vec<Server>>, Error> {
        unimplemented!()
    }

    /// Creates or replaces a server (ipvsadm -a or -e).
    pub async fn put_server(
        &self,
        service: ServiceKey,
        server: ServerKey,
        draft: ServerDraft,
        guard: Guard,
        call: Call,
    ) -> Result<Written<Server>, Error> {
        unimplemented!()
    }

    /// Changes what the draft names, keeps the rest. With `create`, a server that is missing is
    /// created.
    pub async fn update_server(
        &self,
        service: ServiceKey,
        server: ServerKey,
        draft: ServerDraft,
        guard: Guard,
        create: bool,
        call: Call,
    ) -> Result<Written<Server>, Error> {
        unimplemented!()
    }

    /// Deletes a server (ipvsadm -d). `false` where it was missing, which `allow_missing` must
    /// allow.
    pub async fn delete_server(
        &self,
        service: ServiceKey,
        server: ServerKey,
        allow_missing: bool,
        guard: Guard,
        call: Call,
    ) -> Result<bool, Error> {
        unimplemented!()
    }

    /// Zeroes the counters of one service and its servers, or of all and the totals (ipvsadm -Z).
    pub async fn zero(&self, service: Option<ServiceKey>, call: Call) -> Result<(), Error> {
        unimplemented!()
    }

    /// The timeouts (ipvsadm -L --timeout).
    pub async fn timeouts(&self, call: Call) -> Result<Answer<Timeouts>, Error> {
        unimplemented!()
    }

    /// Sets the timeouts that the draft names, keeps the others (ipvsadm --set).
    pub async fn update_timeouts(
        &self,
        draft: TimeoutsDraft,
        guard: Guard,
        call: Call,
    ) -> Result<Written<Timeouts>, Error> {
        unimplemented!()
    }

    /// The sync daemons that run, master first (ipvsadm -L --daemon).
    pub async fn sync_daemons(&self, call: Call) -> Result<Answer<Vec<SyncDaemon>>, Error> {
        unimplemented!()
    }

    /// Starts a sync daemon (ipvsadm --start-daemon). One that runs already is refused, unless
    /// `replace`: then it is stopped and started again if it differs, and left alone if not.
    pub async fn start_sync_daemon(
        &self,
        state: SyncState,
        draft: SyncDaemonDraft,
        replace: bool,
        guard: Guard,
        call: Call,
    ) -> Result<Written<SyncDaemon>, Error> {
        unimplemented!()
    }

    /// Stops a sync daemon (ipvsadm --stop-daemon). `false` where it did not run, which
    /// `allow_missing` must allow.
    pub async fn stop_sync_daemon(
        &self,
        state: SyncState,
        allow_missing: bool,
        guard: Guard,
        call: Call,
    ) -> Result<bool, Error> {
        unimplemented!()
    }

    /// The connections that `filter` lets pass, in the kernel's order, at most `limit` of them,
    /// read as they are consumed (ipvsadm -L -c).
    pub async fn connections(
        &self,
        filter: ConnectionFilter,
        limit: Option<u64>,
        call: Call,
    ) -> Result<ConnectionStream, Error> {
        unimplemented!()
    }

    /// How many connections `filter` lets pass in each group, most first, without holding them.
    pub async fn count_connections(
        &self,
        filter: ConnectionFilter,
        by: CountBy,
        call: Call,
    ) -> Result<Vec<Count>, Error> {
        unimplemented!()
    }

    /// Totals and the busiest services and servers, for dashboards.
    pub async fn stats(
        &self,
        request: StatsRequest,
        call: Call,
    ) -> Result<Answer<StatsReport>, Error> {
        unimplemented!()
    }

    /// What daemon and kernel are and have (the header line of ipvsadm -L, and more).
    pub async fn info(&self, call: Call) -> Result<Answer<InfoReport>, Error> {
        unimplemented!()
    }

    /// The kernel's settings that it has, by name.
    pub async fn settings(&self, call: Call) -> Result<Settings, Error> {
        unimplemented!()
    }

    /// Sets settings; all are checked before the first is written. Returns all of them after.
    pub async fn update_settings(
        &self,
        wishes: BTreeMap<String, Field<SettingValue>>,
        call: Call,
    ) -> Result<Written<Settings>, Error> {
        unimplemented!()
    }

    /// Whether the kernel answers: `Ok`, or why it does not.
    pub async fn ready(&self) -> Result<(), Error> {
        unimplemented!()
    }
}
