//! The operations of a batch, checked as far as they can be without the kernel's table.

use crate::{
    app::{Guard, service_key},
    identity::Verb,
    model::{
        BatchDraft, BatchOp, Error, Mask, OperationDraft, Reason, ServerDraft, ServerKey,
        ServiceDraft, ServiceKey, ValueDraft, Violation, both,
    },
};

/// An operation of a batch.
#[derive(Clone, Debug)]
pub(super) struct Requested {
    pub service: ServiceKey,
    pub action: Action,
    /// On the resource before the operation.
    pub guard: Guard,
    pub allow_missing: bool,
}

/// What an operation does. The key of a server that is created is in its draft.
#[derive(Clone, Debug)]
pub(super) enum Action {
    CreateService(ServiceDraft),
    UpdateService(ServiceDraft),
    ReplaceService(ServiceDraft),
    DeleteService,
    CreateServer(ServerDraft),
    UpdateServer(ServerKey, ServerDraft),
    ReplaceServer(ServerKey, ServerDraft),
    DeleteServer(ServerKey),
}

/// Operations of a batch at most.
const MAX_OPERATIONS: usize = 10_000;

/// The operations of a batch. Reports all invalid ones at once.
pub(super) fn checked(draft: BatchDraft) -> Result<Vec<Requested>, Error> {
    let operations = draft.operations.unwrap_or_default();
    if operations.is_empty() {
        let message = "is required: at least one operation";
        return Err(Error::invalid("operations", message));
    }
    if operations.len() > MAX_OPERATIONS {
        let detail = format!(
            "the batch has {} operations, more than {MAX_OPERATIONS}; nothing was changed",
            operations.len()
        );
        return Err(Error::new(Reason::TooLarge, detail).with_hint("split the batch"));
    }
    let operations = operations.into_iter().map(Requested::of);
    all_or_errors(operations)
}

/// The results of all operations. If some are invalid, all fields at fault; else the first error.
pub(super) fn all_or_errors<T>(
    results: impl Iterator<Item = Result<T, Error>>,
) -> Result<Vec<T>, Error> {
    let mut values = Vec::new();
    let mut violations = Vec::new();
    let mut first = None;
    for (index, result) in results.enumerate() {
        match result.map_err(|error| error.below(&format!("operations[{index}]"))) {
            Ok(value) => values.push(value),
            Err(error) if error.reason == Reason::InvalidArgument => {
                violations.extend(error.violations);
            }
            Err(error) => {
                first.get_or_insert(error);
            }
        }
    }
    match (violations.is_empty(), first) {
        (true, None) => Ok(values),
        (true, Some(error)) => Err(error),
        (false, _) => Err(Error::from_violations(violations)),
    }
}

// === impl Requested ===

impl Requested {
    fn of(draft: OperationDraft) -> Result<Self, Error> {
        let Some(op) = draft.op else {
            let words = BatchOp::WORDS.map(|(word, _)| word).join(", ");
            return Err(Error::invalid("op", format!("is required: {words}")));
        };
        let ((), guard) = both(misplaced(op, &draft), guard(draft.etag.as_deref()))?;
        let OperationDraft {
            service,
            server,
            value,
            allow_missing,
            update_mask,
            ..
        } = draft;
        let value = value.unwrap_or_default();
        let (service, action) = match op.is_of_server() {
            true => {
                let value = masked_server(value, update_mask);
                let service = service.ok_or_else(|| required("service"));
                let (service, value) = both(service.and_then(|id| id.parse()), value)?;
                (service, of_server(op, server, value)?)
            }
            false => of_service(op, service, masked_service(value, update_mask)?)?,
        };
        Ok(Self {
            service,
            action,
            guard,
            allow_missing: allow_missing.unwrap_or_default(),
        })
    }

    /// What requires the least of those that the operation may turn out to be.
    pub fn verb(&self) -> Verb {
        match self.action {
            Action::CreateService(_) => Verb::CreateService,
            Action::UpdateService(_) => Verb::UpdateService,
            Action::DeleteService => Verb::DeleteService,
            Action::CreateServer(_) => Verb::CreateServer,
            Action::DeleteServer(_) => Verb::DeleteServer,
            // They may change nothing but weights.
            Action::ReplaceService(_) | Action::UpdateServer(..) | Action::ReplaceServer(..) => {
                Verb::UpdateWeight
            }
        }
    }
}

/// Refuses fields that an operation does not have: they would be without effect.
fn misplaced(op: BatchOp, draft: &OperationDraft) -> Result<(), Error> {
    let (creates, updates, deletes) = match op {
        BatchOp::CreateService | BatchOp::CreateServer => (true, false, false),
        BatchOp::UpdateService | BatchOp::UpdateServer => (false, true, false),
        BatchOp::DeleteService | BatchOp::DeleteServer => (false, false, true),
        BatchOp::ReplaceService | BatchOp::ReplaceServer => (false, false, false),
    };
    let value = draft.value.as_ref();
    let is_of_server = op.is_of_server();
    let fields = [
        ("server", draft.server.is_some() && !is_of_server),
        ("etag", draft.etag.is_some() && creates),
        (
            "allow_missing",
            draft.allow_missing == Some(true) && !updates && !deletes,
        ),
        ("update_mask", draft.update_mask.is_some() && !updates),
        ("value", value.is_some() && deletes),
        (
            "value.service",
            value.is_some_and(|value| value.service.is_some()) && is_of_server,
        ),
        (
            "value.server",
            value.is_some_and(|value| value.server.is_some()) && !is_of_server,
        ),
    ];
    let wrong = fields.into_iter().filter(|(_, is_wrong)| *is_wrong);
    let message = || format!("is not accepted by {}", op.as_str());
    let violations: Vec<_> = wrong
        .map(|(field, _)| Violation::new(field, message()))
        .collect();
    match violations.is_empty() {
        true => Ok(()),
        false => Err(Error::from_violations(violations)),
    }
}

fn guard(etag: Option<&str>) -> Result<Guard, Error> {
    etag.map_or(Ok(Guard::None), Guard::of_field)
}

fn required(field: &str) -> Error {
    Error::invalid(field, "is required")
}

fn mask(paths: Option<String>, known: &[&str]) -> Result<Mask, Error> {
    let paths = paths.unwrap_or_default();
    let paths = paths.split(',').filter(|path| !path.is_empty());
    let field = |_| "update_mask".to_owned();
    Mask::parse(paths.map(str::to_owned).collect(), known, field)
}

fn masked_service(value: ValueDraft, paths: Option<String>) -> Result<Option<ServiceDraft>, Error> {
    let mask = mask(paths, &ServiceDraft::FIELDS)?;
    Ok(value.service.map(|draft| draft.masked(&mask)))
}

fn masked_server(value: ValueDraft, paths: Option<String>) -> Result<Option<ServerDraft>, Error> {
    let mask = mask(paths, &ServerDraft::FIELDS)?;
    Ok(value.server.map(|draft| draft.masked(&mask)))
}

fn of_service(
    op: BatchOp,
    id: Option<String>,
    value: Option<ServiceDraft>,
) -> Result<(ServiceKey, Action), Error> {
    let key = id.map(|id| id.parse::<ServiceKey>()).transpose();
    if op == BatchOp::DeleteService {
        return Ok((
            key?.ok_or_else(|| required("service"))?,
            Action::DeleteService,
        ));
    }
    let value = value.ok_or_else(|| required("value.service"));
    let (key, value) = both(key, value)?;
    let key = match (key, op) {
        (Some(key), _) => value.check_key(key).map(|()| key),
        (None, BatchOp::CreateService) => {
            let missing = "is required with address and port, unless fwmark or id is given";
            service_key(&value, Error::invalid("protocol", missing))
        }
        (None, _) => return Err(required("service")),
    };
    let key = key.map_err(|error| error.below("value.service"))?;
    let action = match op {
        BatchOp::CreateService => Action::CreateService,
        BatchOp::UpdateService => Action::UpdateService,
        _ => Action::ReplaceService,
    };
    Ok((key, action(value)))
}

fn of_server(op: BatchOp, id: Option<String>, value: Option<ServerDraft>) -> Result<Action, Error> {
    let key = id.map(|id| id.parse::<ServerKey>()).transpose();
    if op == BatchOp::DeleteServer {
        let key = key?.ok_or_else(|| required("server"))?;
        return Ok(Action::DeleteServer(key));
    }
    let value = value.ok_or_else(|| required("value.server"));
    let (key, mut value) = both(key, value)?;
    if let Some(key) = key {
        let named = value.check_key(key);
        named.map_err(|error| error.below("value.server"))?;
    }
    match (op, key) {
        (BatchOp::CreateServer, key) => {
            if let Some(key) = key {
                value.id = Some(key.to_string().into());
            }
            Ok(Action::CreateServer(value))
        }
        (_, None) => Err(required("server")),
        (BatchOp::UpdateServer, Some(key)) => Ok(Action::UpdateServer(key, value)),
        (_, Some(key)) => Ok(Action::ReplaceServer(key, value)),
    }
}
