//! GetPrincipal and CheckPermission: the principal of the request, and what it may do.

use super::{api::Api, convert::service_key};
use crate::{
    app::{Permission, RequestContext},
    identity::{Principal, Rule, Verb},
    model::Error,
    proto::v1 as pb,
};

pub(super) async fn principal(
    api: Api,
    request: pb::GetPrincipalRequest,
    context: RequestContext,
) -> Result<pb::GetPrincipalResponse, Error> {
    let pb::GetPrincipalRequest {} = request;
    let principal = api.app.principal(&context)?;
    Ok(pb::GetPrincipalResponse {
        principal: Some(pb::Principal::from(&*principal)),
    })
}

pub(super) async fn permission(
    api: Api,
    request: pb::CheckPermissionRequest,
    context: RequestContext,
) -> Result<pb::CheckPermissionResponse, Error> {
    let pb::CheckPermissionRequest { verb, service } = request;
    let verb: Verb = verb.parse().map_err(|_| {
        let all = Verb::ALL.map(Verb::as_str).join(", ");
        Error::invalid("verb", format!("must be one of {all}"))
    })?;
    let service = service.as_deref().map(|id| service_key(id, "service"));
    let service = service.transpose()?;
    let Permission { allowed, reason } = api.app.permission(&context, verb, service)?;
    Ok(pb::CheckPermissionResponse { allowed, reason })
}

impl From<&Rule> for pb::ScopeRule {
    fn from(rule: &Rule) -> Self {
        let [address, ports, protocol, fwmark, owner] = rule.fields();
        Self {
            address,
            ports,
            protocol,
            fwmark,
            owner,
        }
    }
}

impl From<&Principal> for pb::Principal {
    fn from(principal: &Principal) -> Self {
        let Principal { name, kind, grant } = principal;
        let rules = grant.as_ref().and_then(|grant| grant.scope.rules());
        Self {
            name: name.clone(),
            kind: kind.to_string(),
            role: grant.as_ref().map(|grant| grant.role.to_string()),
            scope: rules.map(|rules| pb::Scope {
                rules: rules.iter().map(pb::ScopeRule::from).collect(),
            }),
            scope_reads: grant.as_ref().is_some_and(|grant| grant.scope_reads),
        }
    }
}
