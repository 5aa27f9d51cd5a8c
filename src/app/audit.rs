//! The audit trail.

use std::{borrow::Cow, fmt, str::FromStr};

use super::{
    App, MAX_AUDIT_QUERIES, RequestContext,
    attempt::{event, event_of},
    paging::{Token, binding},
};
use crate::{
    audit::{self, AuditLog, AuditQuery, AuditRecord, Event, MAX_PAGE_BYTES, Outcome, Position},
    model::{Error, Reason, ServerKey, ServiceKey},
};

/// A request for a page of records. All filters that are present must match.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListAuditRecords {
    /// Not before this time.
    pub since_time: Option<jiff::Timestamp>,
    /// Before this time.
    pub until_time: Option<jiff::Timestamp>,
    /// Of the principal with this name.
    pub principal: Option<String>,
    /// About this service, or with an operation on it.
    pub service: Option<ServiceKey>,
    /// Most records on the page; `None` or 0 for 100.
    pub page_size: Option<u32>,
    /// `next_page_token` of the previous page.
    pub page_token: Option<String>,
}

/// A page of records.
#[derive(Clone, Debug)]
pub struct AuditPage {
    /// The records, the newest first.
    pub records: Vec<AuditRecord>,
    /// Token of the next page; `None` on the last.
    pub next_page_token: Option<String>,
}

/// The place in a file where a page ends, for its token.
struct Place {
    inode: u64,
    offset: u64,
}

/// Default page size.
const DEFAULT_PAGE_SIZE: u32 = 100;
/// Largest page size.
const MAX_PAGE_SIZE: u32 = 1000;
/// Memory of a page: its records as they are read, and as they are sent.
const PAGE_MEMORY: usize = 4 * MAX_PAGE_BYTES;

// === impl App ===

impl App {
    /// A page of the audit trail, the newest records first. The request is recorded, too.
    pub async fn audit(
        &self,
        context: &RequestContext,
        request: ListAuditRecords,
    ) -> Result<AuditPage, Error> {
        let page = self.audit_page(context, request).await;
        let event = event_of(context, "list_audit_records", &page);
        self.audit_log().record(event);
        page
    }

    /// The audit trail.
    pub fn audit_log(&self) -> &AuditLog {
        self.write_path.audit()
    }

    /// Records that a request was refused, such as for lack of a permission. `operation` is what was
    /// requested.
    pub fn audit_refusal(
        &self,
        context: &RequestContext,
        operation: impl Into<Cow<'static, str>>,
        service: Option<ServiceKey>,
        server: Option<ServerKey>,
        error: &Error,
    ) {
        self.audit_log().record(Event {
            service,
            server,
            outcome: match Outcome::of(Some(error.reason)) {
                Outcome::Unauthenticated => Outcome::Unauthenticated,
                _ => Outcome::Denied,
            },
            reason: Some(error.reason),
            ..event(context, operation.into())
        });
    }

    async fn audit_page(
        &self,
        context: &RequestContext,
        request: ListAuditRecords,
    ) -> Result<AuditPage, Error> {
        self.may_read_audit(context)?;
        let (query, binding) = request.query(context)?;
        let _memory = self.budget_of(context).charge(PAGE_MEMORY)?;
        let busy = |_| {
            Error::new(
                Reason::RateLimited,
                format!("{MAX_AUDIT_QUERIES} other requests are reading the audit trail"),
            )
            .with_hint("retry when they have ended")
        };
        let permit = self.audit_queries.clone().acquire_owned();
        let permit = tokio::time::timeout_at(context.deadline.into(), permit);
        let permit = permit.await.map_err(busy)?;
        let log = self.audit_log().clone();
        let found = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            log.query(&query)
        });
        let failed = || Error::new(Reason::Internal, "the audit trail cannot be read");
        let found = found.await.map_err(|error| failed().with_source(error))?;
        let audit::AuditPage { records, next } = found.map_err(|error| {
            let log = || tracing::error!(%error, "the audit trail cannot be read");
            context.span.in_scope(log);
            failed()
        })?;
        Ok(AuditPage {
            records,
            next_page_token: next.map(|next| token(next).print(binding)),
        })
    }
}

// === impl ListAuditRecords ===

impl ListAuditRecords {
    /// The query, and the binding of its page tokens.
    fn query(self, context: &RequestContext) -> Result<(AuditQuery, u32), Error> {
        let Self {
            since_time,
            until_time,
            principal,
            service,
            page_size,
            page_token,
        } = self;
        let limit = page_size.filter(|size| *size != 0);
        let limit = limit.unwrap_or(DEFAULT_PAGE_SIZE);
        if limit > MAX_PAGE_SIZE {
            return Err(Error::invalid(
                "page_size",
                format!("{limit} is out of range: 1 to {MAX_PAGE_SIZE}; 0 for the default"),
            ));
        }
        let binding = binding(&(
            "audit",
            since_time,
            until_time,
            &principal,
            service,
            &context.principal,
        ));
        let token: Option<Token<Place>> = page_token
            .map(|token| Token::parse(&token, binding))
            .transpose()?;
        let query = AuditQuery {
            since: since_time,
            until: until_time,
            principal,
            service: service.map(|key| key.to_string()),
            limit: limit as usize,
            from: token.map(|Token { value, key }| Position {
                seq: value,
                inode: key.inode,
                offset: key.offset,
            }),
            deadline: context.deadline,
        };
        Ok((query, binding))
    }
}

fn token(position: Position) -> Token<Place> {
    let Position { seq, inode, offset } = position;
    Token {
        value: seq,
        key: Place { inode, offset },
    }
}

// === impl Place ===

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}.{:x}", self.inode, self.offset)
    }
}

impl FromStr for Place {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (inode, offset) = text.split_once('.').ok_or(())?;
        let number = |text| u64::from_str_radix(text, 16).map_err(drop);
        Ok(Self {
            inode: number(inode)?,
            offset: number(offset)?,
        })
    }
}
